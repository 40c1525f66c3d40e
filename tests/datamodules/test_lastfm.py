"""LastFM: every quirk of its files, and the official ones where they are at hand."""

import math
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fixtures.lastfm import write_lastfm
from mtlzoo.datamodules import DataError, DatasetNotFoundError, LastFM
from mtlzoo.datamodules.download import publisher as obtain

ALL = ["recommend", "plays", "alignment", "friends", "tags"]


def lines(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text().splitlines()[1:]]


def test_pairs_are_those_of_the_file(tmp_path: Path) -> None:
    write_lastfm(tmp_path)
    rows = pl.concat(LastFM(tmp_path, tasks=ALL).read())
    expected = [(int(u), int(a), 1, math.log1p(int(w))) for u, a, w in lines(tmp_path / "user_artists.dat")]
    assert rows.select("user", "item", "recommend").rows() == [row[:3] for row in expected]
    assert rows["plays"].to_list() == pytest.approx([row[3] for row in expected])


def test_what_nobody_played_is_not_to_be_found(tmp_path: Path) -> None:
    write_lastfm(tmp_path)
    (tmp_path / "user_artists.dat").write_text("userID\tartistID\tweight\n2\t3\t0\n2\t4\t1\n")
    rows = pl.concat(LastFM(tmp_path).read())
    assert rows["recommend"].to_list() == [None, 1]
    assert rows["plays"].to_list() == [0, math.log(2)]


def test_friends_are_friends_both_ways(tmp_path: Path) -> None:
    write_lastfm(tmp_path)
    data = LastFM(tmp_path, tasks=["recommend", "friends"])
    table = data.links("friends")
    user = dict(pl.read_parquet(data.data.folder / "vocabulary" / "user.parquet").select("id", "value").rows())
    owners = table.lists.owners.tolist()
    found = {(user[a], user[b]) for a, b in zip(owners, table.lists.members.tolist(), strict=True)}
    assert found == {(int(a), int(b)) for a, b in lines(tmp_path / "user_friends.dat")}


def test_the_main_tag_is_the_one_given_most_often(tmp_path: Path) -> None:
    write_lastfm(tmp_path)
    frame = pl.concat(LastFM(tmp_path).read_links("tags"))
    given: dict[int, list[int]] = {}
    for _, artist, tag, *_ in lines(tmp_path / "user_taggedartists.dat"):
        given.setdefault(int(artist), []).append(int(tag))
    assert dict(frame.rows()) == {a: max(sorted(set(tags)), key=tags.count) for a, tags in given.items()}


def test_links_that_are_left_out_are_counted(tmp_path: Path) -> None:
    write_lastfm(tmp_path)
    with (tmp_path / "user_friends.dat").open("ab") as file:
        file.write(b"2\t999999\r\n" * 3)
    friends = lines(tmp_path / "user_friends.dat")
    data = LastFM(tmp_path, tasks=["recommend", "friends"])
    known = set(pl.read_parquet(data.data.folder / "vocabulary" / "user.parquet")["value"].to_list())
    lost = sum(not {int(one), int(other)} <= known for one, other in friends)
    assert lost >= 3
    assert data.data.manifest["missed"] == {"train (friends)": {"rows": lost, "of": len(friends)}}


@pytest.mark.parametrize("place", ["hetrec2011-lastfm-2k", "."])
def test_both_places_are_looked_at(tmp_path: Path, place: str) -> None:
    write_lastfm(tmp_path / place)
    assert LastFM(tmp_path, download=False).schema


@pytest.mark.parametrize("writable", [True, False])
def test_an_archive_at_root_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writable: bool) -> None:
    files, root = write_lastfm(tmp_path / "files"), tmp_path / "root"
    root.mkdir()
    with zipfile.ZipFile(root / "hetrec2011-lastfm-2k.zip", "w") as archive:
        for path in files.iterdir():
            archive.write(path, path.name)  # at the archive's root, as published
    if not writable:
        monkeypatch.setattr(obtain, "writable", lambda folder: folder != root)
    data = LastFM(root, download=False, prepared=tmp_path / "prepared")
    assert sum(data.data.manifest["rows"].values()) == 1000
    assert (root / "hetrec2011-lastfm-2k").is_dir() == writable
    assert data.folder == LastFM(files, prepared=tmp_path / "prepared").folder


def test_downloads_with_the_publishers_checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = write_lastfm(tmp_path / "published")
    calls = []

    def fetch(url: str, path: Path, *, md5: str) -> Path:
        calls.append((url, md5))
        with zipfile.ZipFile(path, "w") as archive:
            for file in published.iterdir():
                archive.write(file, file.name)
        return path

    monkeypatch.setattr(obtain, "download", fetch)
    with pytest.raises(DatasetNotFoundError, match=r"no user_artists.dat.*root="):
        LastFM(tmp_path / "data", download=False).files()
    assert sum(LastFM(tmp_path / "data").data.manifest["rows"].values()) == 1000
    url = "https://files.grouplens.org/datasets/hetrec2011/hetrec2011-lastfm-2k.zip"
    assert calls == [(url, "296d61afe4e8632b173fc2dd3be20ce2")]


def test_a_file_that_only_a_task_needs(tmp_path: Path) -> None:
    write_lastfm(tmp_path)
    (tmp_path / "user_friends.dat").unlink()
    assert LastFM(tmp_path, tasks=["recommend", "tags"]).schema
    with pytest.raises(DatasetNotFoundError, match="user_friends"):
        LastFM(tmp_path).prepare_data()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("user_artists.dat", "userID\tartistID\tweight\n2\t3\n", "user_artists.dat"),
        (
            "user_artists.dat",
            "userID\tartistID\tweight\n2\t3\t-5\n",
            "line 2, column 'weight': found -5; allowed is a whole number from 0 to",
        ),
        ("user_artists.dat", "user\tartist\n2\t3\n", "userID"),
        ("user_artists.dat", "userID\tartistID\tweight\n2\t3\t\n", "found None; allowed is a whole number from 0 to"),
        ("user_friends.dat", "<!DOCTYPE html>\n<html>\n", "a web page, not data"),
        ("user_friends.dat", "userID\tfriendID\n", r"user_friends\.dat: no rows"),
        ("user_friends.dat", "userID\tfriendID\n2\t\n", "line 2, column 'friendID': found None"),
        ("user_taggedartists.dat", "artistID\ttagID\n", r"user_taggedartists\.dat: no rows"),
    ],
)
def test_files_that_are_not_what_they_should_be(tmp_path: Path, name: str, content: str, message: str) -> None:
    write_lastfm(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        LastFM(tmp_path).prepare_data()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": ["recommend", "trust"]}, r"tasks=\['recommend', 'trust'\]; allowed"),
        ({"tasks": ["friends"]}, "must be among them"),
        ({"split": "time"}, "split='time'; allowed are 'random' and 'user'"),
    ],
)
def test_wrong_arguments_say_what_is_allowed(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LastFM(tmp_path, **arguments)


def test_the_official_files(data_root: Path, tmp_path: Path) -> None:
    if not (data_root / "lastfm-hetrec-2k" / "user_artists.dat").is_file():
        pytest.skip("no lastfm-hetrec-2k/user_artists.dat in MTLZOO_DATA")
    data = LastFM(data_root / "lastfm-hetrec-2k", tasks=ALL, prepared=tmp_path, download=False)
    rows = pl.concat(data.read())
    assert sum(data.data.manifest["rows"].values()) == len(rows) == 92_834
    assert (rows["user"].n_unique(), rows["item"].n_unique()) == (1_892, 17_632)
    assert rows["recommend"].null_count() == 0
    assert len(pl.concat(data.read_links("friends"))) == 2 * 12_717
    tags = pl.concat(data.read_links("tags"))
    assert len(tags) == 12_523
    sizes = tags.group_by("group").len()["len"].cast(pl.Int64)
    assert (sizes * (sizes - 1)).sum() / (len(tags) * (len(tags) - 1)) == pytest.approx(0.015, abs=5e-4)
    given = pl.read_csv(data.files()[-1], separator="\t").group_by("artistID", "tagID").len()
    assert given["tagID"].value_counts()["count"].max() == 2_283
    most = given.filter(pl.col("len") == pl.col("len").max().over("artistID"))
    assert (most.group_by("artistID").len()["len"] > 1).sum() == 6_089
    assert len(data.links("friends").lists) > 25_000
