import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from fixtures.kuairec import OUTCOMES, write_kuairec
from mtlzoo.datamodules import DataError, DatasetNotFoundError, KuaiRec
from mtlzoo.datamodules.download import publisher as obtain

TASKS = ("complete", "long_view", "like", "watch_ratio")


def rows_of(data: KuaiRec) -> pl.DataFrame:
    return pl.concat(data.read())


def raw(folder: Path, name: str = "big_matrix") -> pl.DataFrame:
    return pl.read_csv(folder / f"{name}.csv", infer_schema_length=None)


@pytest.mark.parametrize("folder", ["KuaiRec/data", "KuaiRec 2.0/data", "data", "."])
@pytest.mark.parametrize("packed", [False, True])
def test_files_are_found_where_people_put_them(tmp_path: Path, folder: str, packed: bool) -> None:
    where = write_kuairec(tmp_path, folder=folder, packed=packed, rows=100)
    files = KuaiRec(tmp_path, small_matrix=True, download=False).files()
    names = ["big_matrix", "small_matrix", "user_features", "item_categories", "item_daily_features"]
    assert [path.name.removesuffix(".gz") for path in files] == [f"{name}.csv" for name in names]
    assert {path.parent for path in files} == {where}


def test_labels_are_made_of_what_was_watched(tmp_path: Path) -> None:
    published = raw(write_kuairec(tmp_path))
    rows = rows_of(KuaiRec(tmp_path, tasks=TASKS))
    for made, row in zip(rows.select(TASKS).rows(), published.iter_rows(named=True), strict=True):
        long_view = row["play_duration"] >= min(18_000, row["video_duration"])
        assert made == (row["watch_ratio"] >= 1, long_view, row["watch_ratio"] > 2, row["watch_ratio"])
    assert rows["complete"].sum() > rows["like"].sum() > 0


def test_a_label_is_not_observed_where_it_cannot_be_told(tmp_path: Path) -> None:
    path = write_kuairec(tmp_path) / "big_matrix.csv"
    header, first, second, *rest = path.read_text().splitlines()
    unknown = [
        ",".join([*line.split(",")[:2], played, "", *line.split(",")[4:7], ""])
        for line, played in ((first, "20000"), (second, "9000"))
    ]
    path.write_text("\n".join([header, *unknown, *rest]))
    made = rows_of(KuaiRec(tmp_path, tasks=TASKS)).select(TASKS).rows()
    assert made[:2] == [(None, True, None, None), (None, None, None, None)]


def test_features_hold_nothing_that_was_watched(tmp_path: Path) -> None:
    write_kuairec(tmp_path)
    few, many = KuaiRec(tmp_path, tasks=["like"]), KuaiRec(tmp_path, tasks=TASKS)
    assert few.schema.features == many.schema.features
    names = {feature.name for feature in few.schema.features}
    assert not names & OUTCOMES
    assert {"user_id", "video_id", "author_id", "music_id", "video_tag_id", "feat", "hour", "video_duration"} <= names


def test_splits_follow_the_date(tmp_path: Path) -> None:
    write_kuairec(tmp_path)
    rows = rows_of(KuaiRec(tmp_path, val_from=20200801, test_from=20200810))
    days = {part: frame["date"] for (part,), frame in rows.partition_by("split", as_dict=True).items()}
    assert days["train"].max() == 20200731
    assert (days["val"].min(), days["val"].max()) == (20200801, 20200809)
    assert days["test"].min() == 20200810


def test_the_small_matrix_is_the_test_set_when_asked(tmp_path: Path) -> None:
    folder = write_kuairec(tmp_path)
    big, small = KuaiRec(tmp_path), KuaiRec(tmp_path, small_matrix=True)
    assert "small" not in big.data.manifest["rows"]
    assert small.data.manifest["rows"]["small"] == len(raw(folder, "small_matrix"))
    assert sum(len(batch["row"]) for batch in small.test_dataloader()) == len(raw(folder, "small_matrix"))
    assert small.schema == big.schema  # train, so vocabularies, stay
    for split in ("train", "val", "test"):
        torch.testing.assert_close(small.data[split]["categorical"], big.data[split]["categorical"])


def test_rows_without_a_time_stay_and_have_no_hour(tmp_path: Path) -> None:
    folder = write_kuairec(tmp_path)
    missing = raw(folder, "small_matrix")["time"].null_count()
    rows = rows_of(KuaiRec(tmp_path, small_matrix=True))
    assert rows.filter(pl.col("split") == "small")["hour"].null_count() == missing > 0
    assert set(rows["hour"].drop_nulls()) == set(range(24))


def test_a_big_matrix_without_dates_is_refused(tmp_path: Path) -> None:
    path = write_kuairec(tmp_path) / "big_matrix.csv"
    path.write_text(path.read_text().replace(",20200801,", ",,"))
    with pytest.raises(
        DataError, match=r"big_matrix\.csv, line \d+, column 'date': found None; allowed is a day from 20200701"
    ):
        rows_of(KuaiRec(tmp_path))


def test_categories_are_lists(tmp_path: Path) -> None:
    folder = write_kuairec(tmp_path)
    table = dict(raw(folder, "item_categories").iter_rows())
    rows = rows_of(KuaiRec(tmp_path))
    assert [str(feat) for feat in rows["feat"].to_list()] == [table[video] for video in rows["video_id"]]
    assert set(rows["feat"].list.len()) == {1, 2, 3, 4}


def test_categories_that_are_code_are_refused(tmp_path: Path) -> None:
    path = write_kuairec(tmp_path) / "item_categories.csv"
    path.write_text(path.read_text() + "50,\"__import__('os').abort()\"\n")
    with pytest.raises(DataError, match=r"line 52, column 'feat': found .*abort.*; allowed is a list of integers"):
        rows_of(KuaiRec(tmp_path))


def test_the_first_day_of_a_video_counts(tmp_path: Path) -> None:
    write_kuairec(tmp_path)
    rows = rows_of(KuaiRec(tmp_path))
    assert set(rows["upload_type"]) == {"ShortImport", "Kmovie", "PictureSet"}
    assert rows["author_id"].to_list() == [1000 + video // 2 for video in rows["video_id"]]


def test_the_order_of_the_days_means_nothing(tmp_path: Path) -> None:
    path = write_kuairec(tmp_path) / "item_daily_features.csv"
    rows = rows_of(KuaiRec(tmp_path))
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join([header, *reversed(lines)]) + "\n")
    assert rows_of(KuaiRec(tmp_path)).equals(rows)


def test_quirks_of_the_tables_survive(tmp_path: Path) -> None:
    write_kuairec(tmp_path)
    rows = rows_of(KuaiRec(tmp_path))
    assert set(rows["is_live_streamer"]) == {-124, 0, 1}
    assert -124 in set(rows["video_tag_id"])
    assert "[100,1k)" in set(rows["fans_user_num_range"])
    assert rows["onehot_feat17"].dtype == pl.Int64
    assert 0 < rows["onehot_feat4"].null_count() < len(rows) / 2


def test_videos_and_users_without_a_row_in_a_table(tmp_path: Path) -> None:
    folder = write_kuairec(tmp_path)
    for name in ("item_categories", "item_daily_features", "user_features"):
        lines = (folder / f"{name}.csv").read_text().splitlines(keepends=True)
        (folder / f"{name}.csv").write_text("".join(line for line in lines if not line.startswith(("7,", "59,"))))
    rows = rows_of(KuaiRec(tmp_path))
    gone = rows.filter(pl.col("video_id") == 7)
    assert len(gone) == gone["author_id"].null_count() == gone["feat"].null_count() > 0
    gone = rows.filter(pl.col("user_id").is_in([7, 59]))
    assert len(gone) == gone["user_active_degree"].null_count() > 0
    assert sum(KuaiRec(tmp_path).data.manifest["rows"].values()) == len(rows)


def test_byte_order_mark_and_carriage_returns(tmp_path: Path) -> None:
    folder = write_kuairec(tmp_path)
    before = rows_of(KuaiRec(tmp_path))
    for path in folder.glob("*.csv"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert rows_of(KuaiRec(tmp_path)).equals(before)


@pytest.mark.parametrize("name", ["user_features", "item_categories", "item_daily_features", "small_matrix"])
def test_a_missing_table_is_named(tmp_path: Path, name: str) -> None:
    (write_kuairec(tmp_path) / f"{name}.csv").unlink()
    with pytest.raises(DatasetNotFoundError, match=rf"{name}\.csv\(\.gz\) is not in .*beside"):
        KuaiRec(tmp_path, small_matrix=True).files()


def test_downloads_where_there_is_no_matrix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = write_kuairec(tmp_path / "published", rows=100)
    calls = []

    def fetch(url: str, path: Path, *, md5: str) -> Path:
        calls.append((url, md5))
        with zipfile.ZipFile(path, "w") as archive:
            for file in published.iterdir():
                archive.write(file, f"KuaiRec 2.0/data/{file.name}")
        return path

    monkeypatch.setattr(obtain, "download", fetch)
    root = tmp_path / "data" / "kuairec"
    assert len(rows_of(KuaiRec(root))) == 100
    assert len(KuaiRec(root).files()) == 4
    url = "https://zenodo.org/records/18164998/files/KuaiRec.zip"
    assert calls == [(url, "261550d472c48eff4990fb13c0e5bcf7")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": ["is_like"]}, r"tasks=\['is_like'\]; allowed"),
        ({"tasks": []}, r"tasks=\[\]; allowed"),
        ({"val_from": 20200830}, "must be after"),
        ({"val_from": 20201350}, "val_from=20201350 is not a day"),
    ],
)
def test_wrong_arguments_say_what_is_allowed(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KuaiRec(tmp_path, **arguments)
