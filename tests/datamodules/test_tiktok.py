import hashlib
import tarfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from fixtures.tiktok import write_tiktok
from mtlzoo.datamodules import DataError, DatasetNotFoundError, TikTok
from mtlzoo.datamodules.tiktok import FEATURES, MD5, NAMES


def rows_of(data: TikTok) -> pl.DataFrame:
    return pl.concat(data.read())


def raw(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, has_header=False, new_columns=NAMES, separator="\t", infer_schema_length=None)


def archived(path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, track: int = 1) -> Path:
    """The organisers' archive of the file, and its md5 in place of theirs."""
    root.mkdir(exist_ok=True)
    archive = root / f"final_track{track}_train.txt.tgz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(path, path.name)
    monkeypatch.setitem(MD5, track, hashlib.md5(archive.read_bytes()).hexdigest())
    return archive


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("track", [1, 2])
def test_rows_as_published_with_minus_one_as_missing(tmp_path: Path, track: Any, packed: bool) -> None:
    path = write_tiktok(tmp_path, track, packed=packed)
    published = raw(path).with_columns(pl.all().replace(-1, None))
    assert rows_of(TikTok(tmp_path, track=track)).equals(published)
    assert published["music_id"].null_count() > 0


@pytest.mark.parametrize("track", [1, 2])
def test_features_are_those_of_stem_and_the_city_where_there_is_one(tmp_path: Path, track: Any) -> None:
    write_tiktok(tmp_path, track)
    schema = TikTok(tmp_path, track=track).schema
    names = [feature.name for feature in schema.categorical]
    assert names == [feature.name for feature in schema.features]
    assert set(names) == set(FEATURES) | ({"user_city"} if track == 2 else set())
    assert (schema.user, schema.item, schema.group) == ("uid", "item_id", "uid")


@pytest.mark.parametrize("tasks", [("finish", "like"), ("like",)])
def test_labels(tmp_path: Path, tasks: tuple[str, ...]) -> None:
    path = write_tiktok(tmp_path)
    data = TikTok(tmp_path, tasks=tasks)
    assert tuple(task.name for task in data.schema.tasks) == tasks
    labels = torch.cat([data.data[split]["labels"] for split in ("train", "val", "test")])
    assert labels.sum(0).tolist() == [raw(path)[task].sum() for task in tasks]


def test_a_label_of_minus_one_is_not_observed(tmp_path: Path) -> None:
    path = write_tiktok(tmp_path)
    lines = path.read_text().splitlines()
    fields = lines[0].split("\t")
    fields[7] = "-1"
    path.write_text("\n".join(["\t".join(fields), *lines[1:]]))
    labels = torch.cat([TikTok(tmp_path).data[split]["labels"] for split in ("train", "val", "test")])
    assert labels.isnan().sum(0).tolist() == [0, 1]


@pytest.mark.filterwarnings("ignore:TikTok. .* of the ids of .* are unknown:mtlzoo.datamodules.errors.DataWarning")
def test_rare_values_are_unknown(tmp_path: Path) -> None:
    path = write_tiktok(tmp_path, rows=600)
    data = TikTok(tmp_path, min_count=10)
    column = [feature.name for feature in data.schema.categorical].index("uid")
    train = data.data["train"]["categorical"][:, column]
    known = torch.bincount(train)[2:]
    assert int(known.min()) >= 10
    assert 0 < len(known) < raw(path)["uid"].n_unique()


def test_the_split_has_the_sizes_of_stem(tmp_path: Path) -> None:
    write_tiktok(tmp_path, rows=30_000)
    rows = TikTok(tmp_path).data.manifest["rows"]
    shares = {split: count / 30_000 for split, count in rows.items()}
    assert shares == pytest.approx({"train": 0.81, "val": 0.09, "test": 0.1}, abs=0.01)
    assert TikTok(tmp_path, split_seed=1).data.manifest["rows"] != rows


@pytest.mark.parametrize("track", [1, 2])
def test_the_archive_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, track: Any) -> None:
    archived(write_tiktok(tmp_path / "published", track), tmp_path / "root", monkeypatch, track)
    assert TikTok(tmp_path / "root", track=track).files() == (tmp_path / "root" / f"final_track{track}_train.txt",)


def test_another_archive_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = archived(write_tiktok(tmp_path / "published"), tmp_path / "root", monkeypatch)
    archive.write_bytes(archive.read_bytes() + b"more")
    with pytest.raises(DataError, match=r"final_track1_train\.txt\.tgz.*md5"):
        TikTok(tmp_path / "root").files()


def test_a_page_saved_as_the_archive_or_the_file(tmp_path: Path) -> None:
    page = "<html><head><title>Sign in</title></head></html>\n"
    (tmp_path / "final_track1_train.txt.tgz").write_text(page)
    with pytest.raises(DataError, match=r"tgz: a web page"):
        TikTok(tmp_path).files()
    (tmp_path / "final_track1_train.txt").write_text(page)
    with pytest.raises(DataError, match=r"txt: a web page"):
        rows_of(TikTok(tmp_path))


def test_a_missing_file_says_what_to_get(tmp_path: Path) -> None:
    write_tiktok(tmp_path, 1)
    with pytest.raises(DatasetNotFoundError, match=rf"no final_track2_train\.txt .*{MD5[2]}.*root="):
        TikTok(tmp_path, track=2).files()


def test_ragged_lines_are_named(tmp_path: Path) -> None:
    path = write_tiktok(tmp_path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:6], lines[6].rpartition("\t")[0], *lines[7:]]) + "\n")
    with pytest.raises(DataError, match=r"line 7: 11 fields where 12 are expected"):
        rows_of(TikTok(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"track": 3}, "track=3; allowed"),
        ({"tasks": []}, r"tasks=\[\]; allowed"),
        ({"tasks": ["click"]}, r"tasks=\['click'\]; allowed"),
    ],
)
def test_wrong_arguments_say_what_is_allowed(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TikTok(tmp_path, **arguments)
