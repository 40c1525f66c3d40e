import os
import tarfile
from pathlib import Path

import pytest

from mtlzoo.datamodules import KuaiRand
from mtlzoo.datamodules.download import publisher as obtain
from mtlzoo.datamodules.errors import DatasetNotFoundError

URL = "https://example.org/data.tar.gz"


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Urls asked for; a download makes an archive that holds ``rows.csv``, unless the archive is there."""
    asked: list[str] = []

    def download(url: str, path: Path, *, md5: str) -> Path:
        if not path.exists():
            asked.append(url)
            packed(path)
        return path

    monkeypatch.setattr(obtain, "download", download)
    return asked


def packed(path: Path) -> None:
    rows = path.with_name("rows.csv")
    rows.write_text("a,b\n1,2\n")
    with tarfile.open(path, "w:gz") as archive:
        archive.add(rows, "rows.csv")
    rows.unlink()


def test_downloads_and_unpacks_once(tmp_path: Path, downloads: list[str]) -> None:
    rows, archive = tmp_path / "root" / "rows.csv", tmp_path / "root" / "data.tar.gz"
    for _ in range(2):
        obtain.obtain(URL, archive, there=rows.is_file)
        assert rows.is_file()
    assert downloads == [URL]


def test_files_that_are_there_are_left_alone(tmp_path: Path, downloads: list[str]) -> None:
    obtain.obtain(URL, tmp_path / "data.tar.gz", there=lambda: True)
    assert downloads == []
    assert list(tmp_path.iterdir()) == []


def test_an_archive_put_there_by_hand_needs_no_download(tmp_path: Path, downloads: list[str]) -> None:
    packed(tmp_path / "data.tar.gz")
    obtain.obtain(URL, tmp_path / "data.tar.gz", there=(tmp_path / "rows.csv").is_file, allowed=False)
    assert (tmp_path / "rows.csv").is_file()
    assert downloads == []


def test_nothing_is_downloaded_where_it_is_not_allowed(tmp_path: Path, downloads: list[str]) -> None:
    obtain.obtain(URL, tmp_path / "root" / "data.tar.gz", there=lambda: False, allowed=False)
    assert downloads == []
    assert not (tmp_path / "root").exists()


def test_a_folder_that_may_not_be_written_is_no_crash(
    tmp_path: Path, downloads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(DatasetNotFoundError, match=r"give its folder as root=.*writing"):
        KuaiRand(tmp_path / "root").files()
    assert downloads == []
