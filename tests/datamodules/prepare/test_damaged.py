"""Prepared data that are not what was written: seen at opening, said, and made anew."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from mtlzoo.cli import main
from mtlzoo.datamodules import TabularDataModule
from mtlzoo.datamodules.errors import DamagedError, DataError
from mtlzoo.datamodules.prepare import PreparedData, checksums
from mtlzoo.datamodules.prepare.checksums import verify
from mtlzoo.datamodules.prepare.storage import BLOCK, Checksum

ROWS = pl.DataFrame(
    {
        "user": [f"u{i % 7}" for i in range(900)],
        "tags": [f"a{i % 3},b{i % 5}" for i in range(900)],
        "price": [i * 0.25 for i in range(900)],
        "click": [i % 2 for i in range(900)],
    }
)


def table(folder: Path) -> TabularDataModule:
    return TabularDataModule.from_frame(
        ROWS,
        features={"user": "categorical", "tags": {"kind": "sequence", "max_length": 2}, "price": "numeric"},
        labels={"click": "binary"},
        user="user",
        ids=["user"],
        prepared=folder,
    )


def contents(folder: Path) -> dict[str, bytes]:
    """Of all files that hold no times."""
    timed = ("manifest.json", checksums.FILE)
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.*") if p.name not in timed}


def change(path: Path, new: Callable[[bytes], bytes]) -> None:
    """Changes contents, keeps the time: as a disk would."""
    status = path.stat()
    path.write_bytes(new(path.read_bytes()))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def invert(path: Path) -> None:
    labels = np.load(path)
    labels[:50] = 1 - labels[:50]
    np.save(path, labels)


def swap(folder: Path, one: str, other: str) -> None:
    (folder / one).rename(folder / "between")
    (folder / other).rename(folder / one)
    (folder / "between").rename(folder / other)


def flip(path: Path) -> None:
    entries = pl.read_parquet(path)
    entries.with_columns(pl.col("value").reverse()).write_parquet(path)


def say(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes, indent=2))


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def holed(data: bytes) -> bytes:
    return half(data) + bytes(len(data) - len(data) // 2)


def flipped(data: bytes) -> bytes:
    """One bit in the middle."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def unlist(folder: Path) -> None:
    path = folder / checksums.FILE
    plain = json.loads(path.read_text())
    del plain["files"]["train/labels.npy"]
    path.write_text(json.dumps(plain))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "labels inverted": lambda folder: invert(folder / "train/labels.npy"),
    "splits swapped": lambda folder: swap(folder, "train", "val"),
    "splits of one size swapped": lambda folder: swap(folder, "test", "val"),
    "columns swapped": lambda folder: swap(folder, "train/numeric.npy", "train/labels.npy"),
    "vocabulary flipped": lambda folder: flip(folder / "vocabulary/user.parquet"),
    "format 99": lambda folder: say(folder / "manifest.json", format=99),
    "fewer rows": lambda folder: say(folder / "manifest.json", rows={"train": 10, "val": 10, "test": 10}),
    "other label rates": lambda folder: say(folder / "manifest.json", label_rates={}),
    "column gone": lambda folder: (folder / "train/numeric.npy").unlink(),
    "column added": lambda folder: shutil.copy(folder / "train/labels.npy", folder / "train/more.npy"),
    "split gone": lambda folder: shutil.rmtree(folder / "val"),
    "ids gone": lambda folder: (folder / "test/ids.parquet").unlink(),
    "a link to nowhere": lambda folder: link(folder / "train/group.npy"),
    "checksums gone": lambda folder: (folder / checksums.FILE).unlink(),
    "manifest gone": lambda folder: (folder / "manifest.json").unlink(),
    "a file that no checksum lists": unlist,
}
FILES = (
    "train/labels.npy",
    "val/numeric.npy",
    "test/tags.npy",
    "train/group.npy",
    "test/ids.parquet",
    "vocabulary/tags.parquet",
    "manifest.json",
    "schema.json",
    "encoding.json",
    checksums.FILE,
)
HOW = {"cut": half, "holed": holed, "a bit": flipped, "empty": lambda data: b"", "longer": lambda data: data + b"x"}
for file in FILES:
    for how, new in HOW.items():
        DAMAGE[f"{file}: {how}"] = lambda folder, file=file, new=new: change(folder / file, new)  # type: ignore[misc]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    return table(folder).data.folder


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_seen_said_and_made_anew(
    damage: str, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(prepared.parent, tmp_path / "cache")
    folder = tmp_path / "cache" / prepared.name
    DAMAGE[damage](folder)
    again = table(tmp_path / "cache").data
    assert again.folder == folder
    assert contents(folder) == contents(prepared)
    assert {split: dict(again[split]).keys() for split in again.manifest["rows"]}
    said = capsys.readouterr().err
    assert "TabularDataModule: prepared data are damaged and made anew" in said
    assert str(folder) in said
    verify(folder, whole=True)


@pytest.mark.parametrize("name", ["manifest.json", "schema.json"])
@pytest.mark.parametrize("text", ["", '{"rows"', "[]", "\x00"])
def test_a_cut_json_file_is_named(name: str, text: str, prepared: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(prepared, tmp_path / "x"))
    (folder / name).write_text(text)
    with pytest.raises(DamagedError, match=f"{name}: "):
        PreparedData(folder)


@pytest.mark.parametrize("rows", [{"train": 1, "val": 90, "test": 90}, {"train": 720}])
def test_rows_and_columns_are_compared_without_checksums_too(
    rows: dict[str, int], prepared: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(prepared, tmp_path / "x"))
    say(folder / "manifest.json", rows=rows)
    with pytest.raises(DamagedError, match=r"train: holds .* the manifest and the schema say"):
        PreparedData(folder)


def test_what_is_larger_is_compared_in_spread_blocks_and_whole_on_demand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x" / "a.npy"
    path.parent.mkdir()
    path.write_bytes(bytes(16 * BLOCK))
    checksums.seal(path.parent, {})
    monkeypatch.setattr(checksums, "CHEAP", 8 * BLOCK)
    change(path, lambda data: data[: 9 * BLOCK] + b"1" + data[9 * BLOCK + 1 :])
    verify(path.parent)  # every other block: 9 is not among them
    with pytest.raises(DamagedError, match="from byte 9,437,184 on"):
        verify(path.parent, whole=True)
    path.touch()
    with pytest.raises(DamagedError, match="from byte 9,437,184 on"):
        verify(path.parent)  # its time is not the recorded one
    change(path, lambda data: bytes(8 * BLOCK) + data[9 * BLOCK : 10 * BLOCK] + bytes(7 * BLOCK))
    with pytest.raises(DamagedError, match="from byte 8,388,608 on"):
        verify(path.parent)


def test_copies_and_moved_folders_stay_right(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(prepared.parent, tmp_path / "copied", copy_function=shutil.copyfile)  # with times of their own
    folder = tmp_path / "copied" / prepared.name
    verify(folder)
    recorded = json.loads((folder / checksums.FILE).read_text())["files"]
    assert all((folder / file).stat().st_mtime_ns == entry["mtime_ns"] for file, entry in recorded.items())
    (tmp_path / "copied").rename(tmp_path / "moved")
    before = (tmp_path / "moved" / prepared.name / checksums.FILE).stat()
    table(tmp_path / "moved").prepare_data()
    assert (tmp_path / "moved" / prepared.name / checksums.FILE).stat() == before
    monkeypatch.setattr(checksums, "write_whole", _read_only)
    (tmp_path / "moved" / prepared.name / "manifest.json").touch()
    verify(tmp_path / "moved" / prepared.name)
    assert "prepared" not in capsys.readouterr().err


def _read_only(path: Path, content: bytes) -> None:
    raise PermissionError(13, "Permission denied", str(path))


def test_what_cannot_be_made_anew_is_refused(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(prepared.parent, tmp_path / "cache")
    folder = tmp_path / "cache" / prepared.name
    invert(folder / "train/labels.npy")
    data = table(tmp_path / "cache")
    data.folder  # noqa: B018  (the raw files are hashed)
    monkeypatch.setattr(Path, "replace", lambda self, _: _read_only(self, b""))
    with pytest.raises(DataError, match=r"labels.npy: is not what was written.* cannot be removed .*Permission denied"):
        data.prepare_data()
    assert folder.exists()


def test_a_folder_of_something_else_is_not_removed(tmp_path: Path) -> None:
    data = table(tmp_path)
    data.folder.mkdir()
    (data.folder / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="exists, but is no finished preparation"):
        data.prepare_data()
    assert (data.folder / "mine.txt").read_text() == "mine"


def test_the_command_verifies_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["prepare", "--data", "Synthetic", "--data.rows", "3000", "--data.users", "100"]
    arguments += ["--data.prepared", str(tmp_path)]
    main([*arguments, "--verify"])
    (folder,) = tmp_path.glob("Synthetic-*[!k]")
    monkeypatch.setattr(checksums, "CHEAP", 1)
    monkeypatch.setattr(checksums, "_compare", _only_whole)
    change(folder / "train/labels.npy", flipped)
    main(arguments)
    assert "damaged" not in capsys.readouterr().err
    main([*arguments, "--verify"])
    out, err = capsys.readouterr()
    assert "labels.npy: is not what was written" in err
    assert "Prepared and verified" in out


_compare = checksums._compare


def _only_whole(path: Path, entry: Any, step: int) -> int:
    """As if the data were large, and the damage in none of the blocks that are compared at opening."""
    return _compare(path, entry, step) if step == 1 else path.stat().st_mtime_ns


@pytest.mark.parametrize("sizes", [[], [0], [5], [BLOCK], [BLOCK - 1, 2], [3 * BLOCK + 7, 1], [1] * 10])
def test_checksums_do_not_depend_on_how_it_was_written(sizes: list[int]) -> None:
    data = np.random.default_rng(0).bytes(sum(sizes))
    whole, parts = Checksum(), Checksum()
    whole.add(data)
    start = 0
    for size in sizes:
        parts.add(memoryview(data)[start : start + size])
        start += size
    assert str(whole) == str(parts)
    assert len(str(whole)) == 8 * -(-len(data) // BLOCK)
