"""KuaiRand's files: where they are found or come from, in what form, and what is missing or refused."""

import shutil
import tarfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fixtures.kuairand import write_kuairand
from mtlzoo.datamodules import DataError, DatasetNotFoundError, KuaiRand
from mtlzoo.datamodules.download import publisher as obtain


def rows_of(data: KuaiRand) -> pl.DataFrame:
    return pl.concat(data.read())


@pytest.mark.parametrize("folder", ["KuaiRand-Pure/data", "data", "."])
@pytest.mark.parametrize("packed", [False, True])
def test_files_are_found_where_people_put_them(tmp_path: Path, folder: str, packed: bool) -> None:
    where = write_kuairand(tmp_path, folder=folder, packed=packed, rows=100)
    files = KuaiRand(tmp_path, download=False).files()
    assert [path.name.removesuffix(".gz") for path in files] == [
        "log_standard_4_08_to_4_21_pure.csv",
        "log_standard_4_22_to_5_08_pure.csv",
        "user_features_pure.csv",
        "video_features_basic_pure.csv",
    ]
    assert {path.parent for path in files} == {where}


def test_plain_and_packed_files_give_the_same_rows(tmp_path: Path) -> None:
    for packed in (False, True):
        write_kuairand(tmp_path / str(packed), packed=packed)
    plain, packed_rows = (rows_of(KuaiRand(tmp_path / str(packed))) for packed in (False, True))
    assert plain.equals(packed_rows)


@pytest.mark.parametrize("version", ["1k", "27k"])
def test_other_versions_and_logs_in_parts(tmp_path: Path, version: Any) -> None:
    write_kuairand(tmp_path / version, version)
    write_kuairand(tmp_path / "pure")
    data = KuaiRand(tmp_path / version, version=version)
    assert rows_of(data).equals(rows_of(KuaiRand(tmp_path / "pure")))
    assert len(data.files()) == (6 if version == "27k" else 4)


def test_one_log_is_enough(tmp_path: Path) -> None:
    write_kuairand(tmp_path, logs=["4_22_to_5_08"])
    assert rows_of(KuaiRand(tmp_path))["date"].min() == 20220422


def test_codes_written_as_floats_are_the_same_value_as_integers(tmp_path: Path) -> None:
    folder = write_kuairand(tmp_path)
    before = rows_of(KuaiRand(tmp_path))
    path = folder / "video_features_basic_pure.csv"
    path.write_text(path.read_text().replace("720.0", "720"))
    assert rows_of(KuaiRand(tmp_path)).equals(before)
    assert before["server_width"].dtype == pl.Int64


def test_a_missing_random_log_is_named(tmp_path: Path) -> None:
    write_kuairand(tmp_path)
    with pytest.raises(DatasetNotFoundError, match=r"log_random_4_22_to_5_08_pure\.csv"):
        KuaiRand(tmp_path, random_log=True).files()


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    (write_kuairand(tmp_path) / "user_features_pure.csv").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"user_features_pure\.csv"):
        KuaiRand(tmp_path).files()


def test_downloads_where_there_is_no_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_kuairand(tmp_path / "published", packed=True, rows=100)
    calls = []

    def fetch(url: str, path: Path, *, md5: str) -> Path:
        calls.append((url, md5))
        with tarfile.open(path, "w:gz") as archive:
            archive.add(tmp_path / "published" / "KuaiRand-Pure", "KuaiRand-Pure")
        return path

    monkeypatch.setattr(obtain, "download", fetch)
    root = tmp_path / "data" / "kuairand"
    assert len(rows_of(KuaiRand(root))) == 100
    assert len(KuaiRand(root).files()) == 4
    url = "https://zenodo.org/records/10439422/files/KuaiRand-Pure.tar.gz"
    assert calls == [(url, "0820331067a3784d9691136f772b35a7")]


@pytest.mark.parametrize("past", [False, True])
@pytest.mark.parametrize("log", ["4_08_to_4_21", "4_22_to_5_08"])
def test_a_log_without_rows_is_refused(tmp_path: Path, log: str, past: bool) -> None:
    path = write_kuairand(tmp_path) / f"log_standard_{log}_pure.csv"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    with pytest.raises(DataError, match=rf"{path.name}: no rows"):
        rows_of(KuaiRand(tmp_path, past=past))


@pytest.mark.parametrize("gone", ["log_standard_4_08_to_4_21_27k_part1.csv", "log_standard_4_22_to_5_08_27k_part2.csv"])
def test_half_of_a_log_in_parts_is_refused(tmp_path: Path, gone: str) -> None:
    (write_kuairand(tmp_path, "27k") / gone).unlink()
    with pytest.raises(DatasetNotFoundError, match=r"allowed are log_.*_27k\.csv or both of .*Put the missing"):
        KuaiRand(tmp_path, version="27k").files()


def test_a_log_that_is_there_whole_and_in_parts_is_refused(tmp_path: Path) -> None:
    folder = write_kuairand(tmp_path, "27k")
    shutil.copy(folder / "log_standard_4_08_to_4_21_27k_part1.csv", folder / "log_standard_4_08_to_4_21_27k.csv")
    with pytest.raises(DatasetNotFoundError, match="take away what is there twice"):
        KuaiRand(tmp_path, version="27k").files()


@pytest.mark.parametrize("name", ["log_standard_4_08_to_4_21_pure.csv", "user_features_pure.csv"])
@pytest.mark.parametrize("kind", ["a folder", "a link to"])
def test_what_is_no_file_in_a_files_place_is_refused(tmp_path: Path, name: str, kind: str) -> None:
    path = write_kuairand(tmp_path) / name
    path.unlink()
    if kind == "a folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "gone.csv")
    with pytest.raises(DatasetNotFoundError, match=rf"{name}: {kind}.*, where a file is expected"):
        KuaiRand(tmp_path).files()
