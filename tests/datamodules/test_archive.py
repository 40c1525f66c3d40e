"""Archives: unpacked whole or not at all, and never outside of the folder."""

import io
import random
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from mtlzoo.datamodules.archive import extract
from mtlzoo.datamodules.errors import DataError, DatasetNotFoundError

CONTENT = {"K/data/a.csv": b"a\n" * 5000, "K/LICENSE": b"free", "readme": b""}


def archived(path: Path, content: dict[str, bytes], link: tuple[str, str] | None = None) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, data in content.items():
                file.writestr(name, data)
        return path
    kind = path.suffix.removeprefix(".").replace("tar", "")
    mode: Any = f"w:{kind}"
    with tarfile.open(path, mode) as tar:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        if link:
            member = tarfile.TarInfo(link[0])
            member.type, member.linkname = tarfile.SYMTYPE, link[1]
            tar.addfile(member)
    return path


def files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "x.tar.bz2", "x.tar.xz"])
def test_unpacks(name: str, tmp_path: Path) -> None:
    assert extract(archived(tmp_path / name, CONTENT), tmp_path / "out") == tmp_path / "out"
    assert files(tmp_path / "out") == CONTENT


def test_joins_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "out/K/data").mkdir(parents=True)
    (tmp_path / "out/K/data/b.csv").write_bytes(b"mine")
    (tmp_path / "out/K/LICENSE").write_bytes(b"old")
    extract(archived(tmp_path / "x.zip", CONTENT), tmp_path / "out")
    assert files(tmp_path / "out") == CONTENT | {"K/data/b.csv": b"mine"}


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz"])
@pytest.mark.parametrize("member", ["../evil", "K/../../evil", "/tmp/evil", "..\\evil", "C:\\evil"])
def test_refuses_to_write_elsewhere(name: str, member: str, tmp_path: Path) -> None:
    archive = archived(tmp_path / name, {"fine": b"", member: b"evil"})
    with pytest.raises(DataError, match=r"refused, as its member .* lies outside of the folder"):
        extract(archive, tmp_path / "out")
    assert files(tmp_path / "out") == {}
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("target", ["/etc/passwd", "../../secret"])
def test_refuses_links_out_of_the_folder(target: str, tmp_path: Path) -> None:
    archive = archived(tmp_path / "x.tar", {"fine": b""}, link=("K/link", target))
    with pytest.raises(DataError, match="refused"):
        extract(archive, tmp_path / "out")
    assert files(tmp_path / "out") == {}


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz", "x.tar.bz2", "x.tar.xz"])
def test_damaged_archives_leave_nothing(name: str, tmp_path: Path) -> None:
    archive = archived(tmp_path / name, {f"K/{i}": random.Random(i).randbytes(20_000) for i in range(20)})
    data = bytearray(archive.read_bytes())
    middle = len(data) // 2
    for broken in (data[:middle], data[:middle] + bytes(20) + data[middle + 20 :], b"no archive"):
        archive.write_bytes(broken)
        with pytest.raises(DataError, match=rf"{name}: (damaged|neither).*Delete it and download it again"):
            extract(archive, tmp_path / "out")
        assert files(tmp_path / "out") == {}


def test_no_archive(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"x.zip: no such file"):
        extract(tmp_path / "x.zip", tmp_path)
