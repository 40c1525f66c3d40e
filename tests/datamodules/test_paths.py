"""Folders and files whose names mean something to a shell, to polars or to somebody else."""

import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mtlzoo.cli import main
from mtlzoo.datamodules import DataError, DatasetNotFoundError, TabularDataModule
from mtlzoo.datamodules.download import locks as locking
from mtlzoo.datamodules.prepare.encoding import Encoding
from mtlzoo.datamodules.prepare.plan import Plan
from mtlzoo.datamodules.prepare.storage import ColumnFile

NAMES = [
    "run[1]",
    "[!a]",
    "*",
    "a?b",
    "two words",
    "Jürgen 日本",
    "~",
    "~me",
    "100%",
    "%20",
    "{a,b}",
    "#1",
    "a=b",
    "$HOME",
]
ROWS = pl.DataFrame({"u": [f"u{i % 7}" for i in range(300)], "t": range(300), "y": [i % 2 for i in range(300)]})
SCHEMA: dict[str, Any] = {
    "features": {"u": "categorical", "t": "numeric"},
    "labels": {"y": "binary"},
    "split": {"kind": "user", "user": "u", "order": "t"},
    "ids": ["u", "t"],
    "user": "u",
}


@pytest.mark.parametrize("name", NAMES)
def test_names_are_names(name: str, tmp_path: Path) -> None:
    root, cache = tmp_path / name / "data", tmp_path / name / "cache"
    root.mkdir(parents=True)
    ROWS.write_csv(root / f"{name}.csv")
    for half in (0, 1):
        with (root / f"part-{half}.parquet").open("wb") as file:
            ROWS[half * 150 : half * 150 + 150].write_parquet(file)
    for train in (f"{name}.csv", "part-*.parquet", str(root / f"{name}.csv")):
        data = TabularDataModule(root, train=train, prepared=cache, **SCHEMA)
        assert sum(data.data.manifest["rows"].values()) == 300
        assert data.data["test"].ids().height == data.data["test"].rows
        assert next(iter(data.train_dataloader()))["categorical"].shape[1] == 1
        plan = Plan(data.recipe)
        Encoding(data.folder).restore(plan)
        assert plan.schema() == data.schema


@pytest.mark.parametrize("name", ["run[1]", "*", "two words", "100%"])
def test_the_command_line_takes_them(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = tmp_path / name
    main(["prepare", "--data", "Synthetic", "--data.rows", "2000", "--data.users", "100", f"--data.prepared={cache}"])
    assert str(cache) in capsys.readouterr().out.replace("\n", "")


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    ROWS.write_csv(tmp_path / "a.csv")
    data = TabularDataModule("elsewhere", train="~/*.csv", prepared="~/cache", **SCHEMA)
    assert data.data.folder.parent == tmp_path / "cache"


@pytest.mark.parametrize("what", ["folder", "link to nowhere", "pipe"])
@pytest.mark.parametrize("pattern", ["a.csv", "*.csv"])
def test_what_is_no_file_is_named(what: str, pattern: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("b")
    data = TabularDataModule(tmp_path, train=pattern, **SCHEMA)
    with pytest.raises(DatasetNotFoundError, match=r"a\.csv.* where a file is expected|no file .*a\.csv"):
        data.files()


def table(cache: Path) -> TabularDataModule:
    return TabularDataModule.from_frame(ROWS, prepared=cache, **SCHEMA)


def test_a_lock_that_cannot_be_taken_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = table(tmp_path)
    lock = data.folder.with_name(f"{data.folder.name}.lock")
    lock.mkdir()
    with pytest.raises(DataError, match=r"lock: cannot be locked .*directory.*prepared=, or MTLZOO_CACHE"):
        data.prepare_data()
    lock.rmdir()
    for error in (
        PermissionError(13, "Permission denied"),
        OSError(30, "Read-only file system"),
        NotImplementedError("no"),
    ):
        monkeypatch.setattr(locking, "FileLock", _failing(error))
        with pytest.raises(DataError, match="cannot be locked"):
            data.prepare_data()
    assert not data.folder.exists()


def _failing(error: Exception) -> Any:
    class Failing:
        def __init__(self, path: Path) -> None: ...

        def acquire(self, timeout: float = -1) -> None:
            raise error

    return Failing


def test_prepared_data_are_read_where_nothing_may_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table(tmp_path).prepare_data()

    def read_only(*_: Any) -> None:
        raise OSError(30, "Read-only file system")

    again = table(tmp_path)
    monkeypatch.setattr(locking, "FileLock", _failing(OSError(30, "Read-only file system")))
    monkeypatch.setattr(Path, "replace", read_only)
    monkeypatch.setattr(Path, "mkdir", read_only)
    assert again.data["train"].rows
    capsys.readouterr()


@pytest.mark.parametrize("after", [0, 3, 10])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError(122, "Disk quota exceeded")])
def test_a_full_disk_is_one_line_and_leaves_nothing(
    error: OSError, after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = table(tmp_path)
    data.folder  # noqa: B018  (the raw files are hashed)
    before = sorted(path.name for path in tmp_path.iterdir())
    written = iter(range(100))

    def full(self: ColumnFile, block: bytes) -> None:
        if next(written) >= after:
            raise error
        self.file.write(block)

    monkeypatch.setattr(ColumnFile, "_write", full)
    with pytest.raises(DataError, match=r"is full; .* twice the space .*Make room, or give another folder: prepared="):
        data.prepare_data()
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".lock") == before
