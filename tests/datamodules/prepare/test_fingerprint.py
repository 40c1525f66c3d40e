"""Fingerprints: change with every input that matters, and with nothing else."""

import mmap
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from mtlzoo.datamodules.errors import DataError
from mtlzoo.datamodules.prepare import fingerprint as module
from mtlzoo.datamodules.prepare.fingerprint import fingerprint

OPTIONS: dict[str, Any] = {"name": "X", "options": {"version": "pure", "days": [1, 2]}}


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "raw/a.csv", tmp_path / "raw/parts/b.csv"]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
        os.utime(path, (1e9, 1e9))  # old enough to be remembered
    return paths


def test_depends_on_content_names_order_options_and_format(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def digest(paths: list[Path], options: Mapping[str, object] = OPTIONS) -> str:
        return fingerprint(options, paths, tmp_path / "cache")

    first = digest(files)
    found = {first, digest(files[::-1]), digest(files[:1]), digest(files, {**OPTIONS, "name": "Y"})}
    files[0].write_text("A.csv")
    found.add(digest(files))
    files[0].write_text("a.csv")
    assert digest(files) == first
    renamed = files[0].rename(files[0].with_name("c.csv"))
    found.add(digest([renamed, files[1]]))
    renamed.rename(files[0])
    monkeypatch.setattr(module, "FORMAT", module.FORMAT + 1)
    found.add(digest(files))
    assert len(found) == 7


def test_does_not_depend_on_place_working_folder_time_or_order_of_options(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fingerprint(OPTIONS, files, tmp_path / "cache")
    (tmp_path / "elsewhere").mkdir()
    moved = (tmp_path / "raw").rename(tmp_path / "elsewhere/raw")
    os.utime(moved / "a.csv")
    monkeypatch.chdir(moved)
    assert (
        fingerprint(dict(reversed(OPTIONS.items())), [Path("a.csv"), Path("parts/b.csv")], tmp_path / "other") == first
    )


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files that were read whole; what was written a moment ago is remembered as well."""
    monkeypatch.setattr(module, "_SETTLED_NS", -1)
    read: list[Path] = []
    original = module._hash

    def counted(path: Path, size: int) -> str:
        read.append(path)
        return original(path, size)

    monkeypatch.setattr(module, "_hash", counted)
    return read


def test_hashes_are_remembered_until_the_file_changes(files: list[Path], tmp_path: Path, hashed: list[Path]) -> None:
    first = fingerprint(OPTIONS, files, tmp_path / "cache")
    assert fingerprint(OPTIONS, files, tmp_path / "cache") == first
    assert hashed == files
    files[0].touch()
    files[1].chmod(0o600)
    assert fingerprint(OPTIONS, files, tmp_path / "cache") == first


def test_a_file_that_changed_a_moment_ago_is_not_remembered(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SETTLED_NS", 3600 * 10**9)
    fingerprint(OPTIONS, files, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def rewritten(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"middle", b"MIDDLE"))


def replaced(path: Path) -> None:
    (path.parent / "new").write_bytes(path.read_bytes().replace(b"middle", b"MIDDLE"))
    (path.parent / "new").replace(path)


def moved_in(path: Path) -> None:
    """The other file was there before, and both have the same time: cp -p, tar, a restored backup."""
    (path.parent / "other").replace(path)


def retargeted(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent / "other")


def mapped(path: Path) -> None:
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        place = memory.find(b"middle")
        memory[place : place + 6] = b"MIDDLE"


@pytest.mark.parametrize("change", [rewritten, replaced, moved_in, retargeted, mapped])
@pytest.mark.parametrize("size", [10, 200_000])
def test_other_contents_of_the_same_size_and_time_are_seen(
    change: Callable[[Path], None], size: int, tmp_path: Path, hashed: list[Path]
) -> None:
    path, other = tmp_path / "raw/a.csv", tmp_path / "raw/other"
    path.parent.mkdir()
    path.write_bytes(b"a" * size + b"middle" + b"b" * size)
    other.write_bytes(b"a" * size + b"MIDDLE" + b"b" * size)
    os.utime(path, (1e9, 1e9))
    os.utime(other, (1e9, 1e9))
    first = fingerprint(OPTIONS, [path], tmp_path / "cache")
    assert fingerprint(OPTIONS, [path], tmp_path / "cache") == first
    assert len(hashed) == 1
    change(path)
    os.utime(path, (1e9, 1e9))
    assert fingerprint(OPTIONS, [path], tmp_path / "cache") != first


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"%s": 1}', '{"%s": {"stamp": [], "hash": "x"}}', "\xff"])
def test_damaged_hashes_are_made_anew(
    text: str, files: list[Path], tmp_path: Path, hashed: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    first = fingerprint(OPTIONS, files, tmp_path / "cache")
    memory = tmp_path / "cache/hashes.json"
    memory.write_text(text.replace("%s", str(files[0])), encoding="latin-1")
    assert fingerprint(OPTIONS, files, tmp_path / "cache") == first
    assert fingerprint(OPTIONS, files, tmp_path / "cache") == first
    assert len(hashed) == 4
    assert ("hashes.json" in capsys.readouterr().err) == ("%s" not in text)


def test_where_hashes_cannot_be_kept_they_are_made_each_time(
    files: list[Path], tmp_path: Path, hashed: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cache").write_text("a file in the folder's place")
    first = fingerprint(OPTIONS, files, tmp_path / "cache")
    assert fingerprint(OPTIONS, files, tmp_path / "cache") == first
    assert len(hashed) == 4
    assert "cannot be written" in capsys.readouterr().err


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(DataError, match=f"{name}: is no file"):
            fingerprint(OPTIONS, [tmp_path / name], tmp_path / "cache")


def test_no_files(tmp_path: Path) -> None:
    assert fingerprint({"seed": 1}, (), tmp_path) != fingerprint({"seed": 2}, (), tmp_path)
