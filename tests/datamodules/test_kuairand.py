"""KuaiRand's rows: splits, labels, features of user and video, the random log, the past."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from fixtures.kuairand import OUTCOMES, write_kuairand
from mtlzoo.datamodules import DataError, KuaiRand
from mtlzoo.datamodules.kuairand import BINARY


def rows_of(data: KuaiRand) -> pl.DataFrame:
    return pl.concat(data.read())


def test_splits_follow_the_date(tmp_path: Path) -> None:
    write_kuairand(tmp_path)
    rows = rows_of(KuaiRand(tmp_path))
    days = {part: frame["date"] for (part,), frame in rows.partition_by("split", as_dict=True).items()}
    assert days["train"].max() == 20220502
    assert set(days["val"]) == {20220503, 20220504}
    assert days["test"].min() == 20220505


def test_any_labels_in_any_order(tmp_path: Path) -> None:
    write_kuairand(tmp_path)
    tasks = ("play_time_ms", "is_hate", *BINARY[:7])
    data = KuaiRand(tmp_path, tasks=tasks)
    assert tuple(task.name for task in data.schema.tasks) == tasks
    raw = rows_of(data).filter(pl.col("split") == "test")
    torch.testing.assert_close(data.data["test"]["labels"], raw.select(tasks).to_torch(dtype=pl.Float32))
    assert data.schema.tasks[0].kind == "regression"
    assert data.schema.tasks[0].scale > 1000  # milliseconds


def test_features_are_the_same_whatever_the_tasks(tmp_path: Path) -> None:
    write_kuairand(tmp_path)
    few, many = KuaiRand(tmp_path, tasks=["is_like"]), KuaiRand(tmp_path, tasks=BINARY)
    assert few.schema.features == many.schema.features
    names = {feature.name for feature in few.schema.features}
    assert not names & OUTCOMES
    assert not names & {"date", "time_ms", "hourmin", "upload_dt", "counts", "show_cnt"}
    assert {"user_id", "video_id", "author_id", "music_id", "tab", "hour", "tag", "video_duration"} <= names


def test_quirks_of_the_tables_survive(tmp_path: Path) -> None:
    write_kuairand(tmp_path)
    rows = rows_of(KuaiRand(tmp_path))
    assert set(rows["is_live_streamer"]) == {-124, 1}
    assert "[100,1k)" in set(rows["fans_user_num_range"])
    assert rows["tag"].str.contains(",").any()
    for name in ("tag", "music_type", "video_duration", "onehot_feat4", "onehot_feat17"):
        assert 0 < rows[name].null_count() < len(rows) / 2, name
    assert set(rows["hour"]) <= set(range(24))


def test_repeated_exposures_stay(tmp_path: Path) -> None:
    write_kuairand(tmp_path, rows=1500)
    rows = rows_of(KuaiRand(tmp_path, tasks=BINARY))
    assert len(rows) == 1500
    assert rows.is_duplicated().sum() >= 30


def test_each_row_has_the_features_of_its_user_and_video(tmp_path: Path) -> None:
    folder = write_kuairand(tmp_path)
    rows = rows_of(KuaiRand(tmp_path))
    users = pl.read_csv(folder / "user_features_pure.csv", infer_schema_length=None)
    videos = pl.read_csv(folder / "video_features_basic_pure.csv", infer_schema_length=None)
    joined = rows.select("user_id", "video_id").join(users, on="user_id", how="left", maintain_order="left")
    joined = joined.join(videos, on="video_id", how="left", maintain_order="left")
    for name in ("register_days", "user_active_degree", "author_id", "tag"):
        assert rows[name].to_list() == joined[name].to_list(), name


def test_a_video_without_a_row_in_the_table_has_no_features(tmp_path: Path) -> None:
    folder = write_kuairand(tmp_path)
    path = folder / "video_features_basic_pure.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith(("7,", "49,"))))
    rows = rows_of(KuaiRand(tmp_path))
    gone = rows.filter(pl.col("video_id").is_in([7, 49]))
    assert len(gone) > 0
    assert gone["author_id"].null_count() == len(gone)
    assert rows.filter(pl.col("video_id") == 8)["author_id"].null_count() == 0


def test_ids_unseen_in_train_are_unknown(tmp_path: Path) -> None:
    write_kuairand(tmp_path)
    data = KuaiRand(tmp_path)
    raw = rows_of(data)
    counts = raw.filter(pl.col("split") == "train")["user_id"].value_counts()
    known = set(counts.filter(pl.col("count") >= 2)["user_id"])
    test = raw.filter(pl.col("split") == "test")
    ids = data.data["test"]["categorical"][:, 0].tolist()
    assert [i == 1 for i in ids] == [user not in known for user in test["user_id"]]
    assert 1 in ids


def test_the_random_log_is_the_test_set_when_asked(tmp_path: Path) -> None:
    write_kuairand(tmp_path, random_log=True)
    standard, unbiased = KuaiRand(tmp_path), KuaiRand(tmp_path, random_log=True)
    assert "random" not in standard.data.manifest["rows"]
    rows = rows_of(unbiased).filter(pl.col("split") == "random")
    assert rows["date"].min() == 20220505
    assert sum(len(batch["row"]) for batch in unbiased.test_dataloader()) == len(rows)
    assert unbiased.schema == standard.schema  # train, so vocabularies, stay
    for split in ("train", "val", "test"):
        torch.testing.assert_close(unbiased.data[split]["categorical"], standard.data[split]["categorical"])


def test_the_past_is_added_when_asked(tmp_path: Path) -> None:
    write_kuairand(tmp_path, random_log=True)
    plain, past = KuaiRand(tmp_path), KuaiRand(tmp_path, past=True)
    added = [feature.name for feature in past.schema.features if feature not in plain.schema.features]
    assert added == ["user_shown", "user_click_rate"]
    assert past.folder != plain.folder
    rows = rows_of(past)
    assert rows.drop("user_shown", "user_click_rate").equals(rows_of(plain))
    assert 0 < rows["user_click_rate"].null_count() < len(rows) / 2
    shown = dict(rows.group_by("user_id").agg(pl.col("user_shown").max()).iter_rows())
    counts = dict(rows.group_by("user_id").len().iter_rows())
    assert all(counts[user] // 2 < shown[user] < counts[user] for user in counts if counts[user] > 20)


def test_the_past_of_train_knows_nothing_of_test(tmp_path: Path) -> None:
    folder = write_kuairand(tmp_path)
    before = rows_of(KuaiRand(tmp_path, past=True))
    path = folder / "log_standard_4_22_to_5_08_pure.csv"
    log = pl.read_csv(path)
    late = pl.col("date") >= 20220505
    log.with_columns(pl.when(late).then(1 - pl.col("is_click")).otherwise("is_click").alias("is_click")).write_csv(path)
    after = rows_of(KuaiRand(tmp_path, past=True))
    known = pl.col("split") != "test"
    assert after.filter(known).equals(before.filter(known))
    assert not after["user_click_rate"].equals(before["user_click_rate"])


def test_the_past_of_the_random_log_is_that_of_the_standard_logs(tmp_path: Path) -> None:
    write_kuairand(tmp_path, random_log=True)
    unbiased, standard = (rows_of(KuaiRand(tmp_path, past=True, random_log=random)) for random in (True, False))
    random = unbiased.filter(pl.col("split") == "random")
    assert unbiased.filter(pl.col("split") != "random").equals(standard)
    row = random.row(0, named=True)
    hour = row["time_ms"] // 3_600_000 * 3_600_000
    before = standard.filter((pl.col("user_id") == row["user_id"]) & (pl.col("time_ms") < hour))
    assert row["user_shown"] == len(before) > 0


def test_an_id_that_the_past_would_take_for_another_is_refused(tmp_path: Path) -> None:
    path = write_kuairand(tmp_path) / "log_standard_4_08_to_4_21_pure.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], f"{2**32 + 7},{lines[1].partition(',')[2]}", *lines[2:]]) + "\n")
    with pytest.raises(
        DataError, match=r"line 2, column 'user_id': found 4294967303; allowed is a whole number from 0"
    ):
        rows_of(KuaiRand(tmp_path, past=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"version": "2k"}, "version='2k'; allowed"),
        ({"tasks": ["is_clicked"]}, r"\['is_clicked'\] are not labels; allowed"),
        ({"tasks": []}, "no task"),
        ({"val_from": 20220506}, "must be after"),
        ({"val_from": 20221350}, "val_from=20221350 is not a day"),
    ],
)
def test_wrong_arguments_say_what_is_allowed(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KuaiRand(tmp_path, **arguments)


def test_exposures_whose_user_or_video_has_no_row_are_counted(tmp_path: Path) -> None:
    path = write_kuairand(tmp_path) / "user_features_pure.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-3]))
    data = KuaiRand(tmp_path)
    lost = sum(rows_of(data)["register_days"].is_null())
    assert data.data.manifest["missed"] == {path.name: {"rows": lost, "of": 1500}}
    path.write_text("".join(lines[: len(lines) // 2]))
    with pytest.raises(DataError, match=r"rows \(4\d\.\d%\) are not found in user_features_pure\.csv; at most 10\.0%"):
        assert KuaiRand(tmp_path).data


def test_real_rows(data_root: Path) -> None:
    """Counts and rates of ../shared/reference/datasets.md, section 1."""
    root = data_root / "kuairand-pure-subset"
    if not root.is_dir():
        pytest.skip(f"no {root}")
    data = KuaiRand(root, tasks=BINARY)
    assert data.data.manifest["rows"] == {"train": 135_128, "val": 36_543, "test": 56_658}
    labels = torch.cat([data.data[split]["labels"] for split in ("train", "val", "test")])
    measured = dict(zip(BINARY, labels.mean(0).tolist(), strict=True))
    assert measured == pytest.approx(
        {
            "is_click": 0.442,
            "long_view": 0.311,
            "is_like": 0.0171,
            "is_profile_enter": 0.0185,
            "is_comment": 0.0025,
            "is_follow": 0.0013,
            "is_forward": 0.0009,
            "is_hate": 0.0008,
        },
        abs=5e-4,
        rel=0.03,
    )


def test_real_rows_of_the_thousand_most_active_users(data_root: Path) -> None:
    root = data_root / "kuairand-pure-subset" / "mini"
    if not root.is_dir():
        pytest.skip(f"no {root}")
    rows = KuaiRand(root).data.manifest["rows"]
    assert sum(rows.values()) == 38_871
    assert rows["test"] == 9_851
