"""Archives: unpacked whole or not at all, and never outside of the folder."""

import gzip
import io
import random
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from mtlzoo.datamodules.download.archive import extract
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


ARCHIVES = ["x.zip", "x.tar.gz", "x.tar.bz2", "x.tar.xz"]


@pytest.mark.parametrize("name", ARCHIVES)
@pytest.mark.parametrize("sizes", [[30 << 20], [1 << 20] * 30])
def test_refuses_what_unpacks_to_far_more_than_its_size(name: str, sizes: list[int], tmp_path: Path) -> None:
    archive = archived(tmp_path / name, {f"K/{place}": bytes(size) for place, size in enumerate(sizes)})
    with pytest.raises(DataError, match=rf"{name}: refused, as it unpacks to .* over 100 times its own size"):
        extract(archive, tmp_path / "out")
    assert files(tmp_path / "out") == {}


def test_refuses_what_comes_after_the_last_member_too(tmp_path: Path) -> None:
    archive = tmp_path / "x.tar.gz"
    archive.write_bytes(archived(tmp_path / "small.tar.gz", CONTENT).read_bytes() + gzip.compress(bytes(30 << 20)))
    with pytest.raises(DataError, match="over 100 times its own size"):
        extract(archive, tmp_path / "out")


@pytest.mark.parametrize("name", ["x.zip", "x.tar"])
def test_refuses_more_than_the_disk_has(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = archived(tmp_path / name, CONTENT)
    free = shutil.disk_usage(tmp_path)._replace(free=9_999)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    with pytest.raises(DataError, match=r"unpacks to 10,00\d bytes or more, and the disk has 9,999 free. Make room"):
        extract(archive, tmp_path / "out")
    assert files(tmp_path / "out") == {}


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (6, 1, r"its member 'a.csv' is encrypted. Unpack it with its password"),
        (6, 0x41, r"its member 'a.csv' is encrypted"),
        (6, 0x20, r"packed by a method \(number 8\) that is not known here"),
        (8, 99, r"its member 'a.csv' is encrypted"),
        (8, 9, r"packed by a method \(number 9\) that is not known here. Unpack it with another program"),
        (8, 97, r"packed by a method \(number 97\) that is not known"),
    ],
)
def test_refuses_what_it_cannot_unpack(offset: int, value: int, message: str, tmp_path: Path) -> None:
    archive = archived(tmp_path / "x.zip", {"a.csv": b"a,b\n" * 100})
    data = bytearray(archive.read_bytes())
    data[offset] = value
    data[data.index(b"PK\x01\x02") + offset + 2] = value
    archive.write_bytes(data)
    with pytest.raises(DataError, match=message):
        extract(archive, tmp_path / "out")
    assert files(tmp_path / "out") == {}


@pytest.mark.parametrize("name", [*ARCHIVES, "x.tar"])
def test_an_archive_without_files(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"{name}: holds no file. Delete it and download it again"):
        extract(archived(tmp_path / name, {}), tmp_path / "out")
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match=rf"{name}: neither a zip nor a tar archive"):
        extract(tmp_path / name, tmp_path / "out")


def test_links_are_refused_wherever_they_lead(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("K/link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr("K/a.csv", b"a")
        file.writestr(info, "a.csv")
    archived(tmp_path / "x.tar", {"K/a.csv": b""}, link=("K/link", "a.csv"))
    for name in ("x.zip", "x.tar"):
        with pytest.raises(DataError, match=rf"{name}: refused, as its member 'K/link' is a link"):
            extract(tmp_path / name, tmp_path / "out")
    assert files(tmp_path / "out") == {}


@pytest.mark.parametrize("name", ["x.zip", "x.tar"])
@pytest.mark.parametrize("content", [{"K": b"a", "K/a.csv": b"a"}, {"K/a.csv": b"a", "K": b"a"}])
def test_a_member_that_is_a_file_and_a_folder(name: str, content: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"{name}: refused, as its member 'K.*' is a folder and a file at once"):
        extract(archived(tmp_path / name, content), tmp_path / "out")


def test_what_is_in_the_way_is_named(tmp_path: Path) -> None:
    archive = archived(tmp_path / "x.zip", CONTENT)
    (tmp_path / "out").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"out: is a file, where the folder for x.zip should be. Move it away"):
        extract(archive, tmp_path / "out")
    (tmp_path / "there").mkdir()
    (tmp_path / "there/K").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"there/K: is a file, where the archive has a folder. Move it away"):
        extract(archive, tmp_path / "there")
    (tmp_path / "other/readme").mkdir(parents=True)
    with pytest.raises(DataError, match=r"other/readme: is a folder, where the archive has a file"):
        extract(archive, tmp_path / "other")
    assert files(tmp_path / "other") == {}
    assert (tmp_path / "out").read_bytes() == (tmp_path / "there/K").read_bytes() == b"mine"
