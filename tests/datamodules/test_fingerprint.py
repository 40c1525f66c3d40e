"""Fingerprints: change with every input that matters, and with nothing else."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mtlzoo.datamodules import fingerprint as module
from mtlzoo.datamodules.fingerprint import fingerprint

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


def test_hashes_are_remembered_until_the_file_changes(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[object] = []
    original = hashlib.blake2b

    def counted(**options: Any) -> Any:
        hashed.append(options)
        return original(**options)

    monkeypatch.setattr(hashlib, "blake2b", counted)
    first = fingerprint(OPTIONS, files, tmp_path / "cache")
    assert fingerprint(OPTIONS, files, tmp_path / "cache") == first
    assert len(hashed) == 2
    files[0].write_text("b.csv")  # same size, other content, just now: too fresh to be remembered
    second = fingerprint(OPTIONS, files, tmp_path / "cache")
    assert second != first
    files[0].write_text("c.csv")
    os.utime(files[0], ns=(files[0].stat().st_atime_ns,) * 2)
    assert fingerprint(OPTIONS, files, tmp_path / "cache") != second


def test_no_files(tmp_path: Path) -> None:
    assert fingerprint({"seed": 1}, (), tmp_path) != fingerprint({"seed": 2}, (), tmp_path)
