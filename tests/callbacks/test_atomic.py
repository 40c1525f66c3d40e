"""Files appear whole or not at all, and nothing is written through a link."""

import errno
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mtlzoo.callbacks.atomic import append, own_folder, whole_file


def write(path: Path, text: str = "new") -> None:
    with whole_file(path, "w") as file:
        file.write(text)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "elsewhere" / "victim"
    path.parent.mkdir()
    path.write_text("precious")
    return path


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process grows beyond 100 bytes, as on a disk that fills; pytest's own output must not come in."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_file_is_replaced_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write(path, "old")
    with whole_file(path, "w") as file:
        file.write("new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a.json"]


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_the_old_file_and_no_other(tmp_path: Path, error: Any) -> None:
    path = tmp_path / "a.json"
    write(path, "old")
    with pytest.raises(error), whole_file(path, "w") as file:  # noqa: PT012
        file.write("half")
        raise error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.json"]


def test_a_disk_that_fills_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write(path, "old")
    with pytest.raises(OSError, match=str(path)) as failed, full_disk():
        write(path, "x" * 1000)
    assert failed.value.errno == errno.EFBIG
    assert path.read_text() == "old"
    append(path, "y" * 90)
    with pytest.raises(OSError, match=str(path)), full_disk():
        append(path, "z" * 20)
    assert path.read_text() == "old" + "y" * 90
    assert names(tmp_path) == ["a.json"]


def test_a_link_in_place_of_the_file_is_replaced_or_refused(tmp_path: Path, victim: Path) -> None:
    path = tmp_path / "a.json"
    path.symlink_to(victim)
    with pytest.raises(OSError, match=str(path)):
        append(path, "more")
    write(path)
    assert path.read_text() == "new"
    assert not path.is_symlink()
    assert victim.read_text() == "precious"


def test_a_link_in_place_of_the_folder_is_refused(tmp_path: Path, victim: Path) -> None:
    folder = tmp_path / "predictions"
    folder.symlink_to(victim.parent)
    for write_there in (lambda: write(folder / "victim"), lambda: own_folder(folder)):
        with pytest.raises(OSError, match="predictions") as failed:
            write_there()
        assert "is a link to" in str(failed.value)
    assert victim.read_text() == "precious"
    assert names(victim.parent) == ["victim"]


@pytest.mark.parametrize("name", ["run[1]", "a*b?", "with blanks", "ümläut", "%s {0}"])
def test_any_name(tmp_path: Path, name: str) -> None:
    write(own_folder(tmp_path / name / name) / name)
    assert (tmp_path / name / name / name).read_text() == "new"


def test_what_is_no_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="gone"):
        write(tmp_path / "gone" / "a")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file"):
        own_folder(tmp_path / "file")
