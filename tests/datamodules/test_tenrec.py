import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from fixtures.tenrec import HISTORY, OUTCOMES, write_tenrec
from mtlzoo.datamodules import DataError, DatasetNotFoundError, Tenrec
from mtlzoo.datamodules.tenrec import SCENARIOS


def rows_of(data: Tenrec) -> pl.DataFrame:
    return pl.concat(data.read())


def raw(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, null_values=r"\N", infer_schema_length=None)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario_and_its_default_tasks(tmp_path: Path, scenario: Any) -> None:
    path = write_tenrec(tmp_path, scenario)
    data = Tenrec(tmp_path, scenario=scenario, min_count=1)
    assert sum(data.data.manifest["rows"].values()) == len(raw(path))
    assert tuple(task.name for task in data.schema.tasks) == SCENARIOS[scenario].tasks
    names = {feature.name for feature in data.schema.features}
    assert {"user_id", "item_id", "gender", "age"} <= names
    assert ("history" in names) == (scenario == "ctr_data_1M")
    assert not names & OUTCOMES


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_all_labels_as_published(tmp_path: Path, scenario: Any) -> None:
    path = write_tenrec(tmp_path, scenario)
    tasks = SCENARIOS[scenario].amounts + SCENARIOS[scenario].binary
    data = Tenrec(tmp_path, scenario=scenario, tasks=tasks, split="random")
    published = raw(path).select(tasks).cast(pl.Float64)
    assert rows_of(data).select(tasks).equals(published)
    observed = sum(int((~data.data[split]["labels"].isnan()).sum()) for split in ("train", "val", "test"))
    missing = published.null_count().sum_horizontal().item()
    assert observed == published.shape[0] * published.shape[1] - missing
    assert (missing > 0) == ("article" in scenario)


@pytest.mark.parametrize(
    ("scenario", "name", "packed"),
    [
        ("ctr_data_1M", None, True),
        ("QK-video", "QK_video.csv", False),
        ("QB-article", "QB-artilce.csv", False),
        ("QB-article", "Tenrec/QB-article.csv", False),
    ],
)
def test_files_are_found_under_every_spelling(tmp_path: Path, scenario: Any, name: str | None, packed: bool) -> None:
    (tmp_path / "Tenrec").mkdir()
    path = write_tenrec(tmp_path, scenario, name=name, packed=packed)
    assert Tenrec(tmp_path, scenario=scenario).files() == (path,)


def test_the_archive_is_unpacked(tmp_path: Path) -> None:
    path = write_tenrec(tmp_path / "published", "QB-video")
    root = tmp_path / "root"
    root.mkdir()
    with zipfile.ZipFile(root / "Tenrec.zip", "w") as archive:
        archive.write(path, "Tenrec/QB-video.csv")
    assert Tenrec(root, scenario="QB-video").files() == (root / "Tenrec" / "QB-video.csv",)


def test_a_page_saved_as_the_archive_or_the_file(tmp_path: Path) -> None:
    page = "<!DOCTYPE html>\n<html><body>Please accept the agreement.</body></html>\n"
    (tmp_path / "Tenrec.zip").write_text(page)
    with pytest.raises(DataError, match=r"Tenrec\.zip: a web page"):
        Tenrec(tmp_path).files()
    (tmp_path / "QB-video.csv").write_text(page)
    with pytest.raises(DataError, match=r"QB-video\.csv: a web page"):
        rows_of(Tenrec(tmp_path, scenario="QB-video"))


def test_a_missing_file_says_where_to_get_it(tmp_path: Path) -> None:
    write_tenrec(tmp_path, "QB-video")
    with pytest.raises(DatasetNotFoundError, match=r"no QK-video\.csv or QK_video\.csv .*agreement|licence"):
        Tenrec(tmp_path, scenario="QK-video").files()


def test_a_file_of_another_scenario_is_refused(tmp_path: Path) -> None:
    write_tenrec(tmp_path, "QB-article", name="QB-video.csv")
    with pytest.raises(DataError, match=r"no column .*'like'"):
        rows_of(Tenrec(tmp_path, scenario="QB-video"))


def test_byte_order_mark_and_carriage_returns(tmp_path: Path) -> None:
    path = write_tenrec(tmp_path)
    before = rows_of(Tenrec(tmp_path))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert rows_of(Tenrec(tmp_path)).equals(before)


def test_missing_categories_are_unknown(tmp_path: Path) -> None:
    write_tenrec(tmp_path)
    data = Tenrec(tmp_path, split="random")
    column = [feature.name for feature in data.schema.categorical].index("video_category")
    ids = torch.cat([data.data[split]["categorical"][:, column] for split in ("train", "val", "test")])
    assert int((ids == 1).sum()) == rows_of(data)["video_category"].null_count() > 0
    assert data.schema.categorical[column].cardinality == 4  # padding, unknown, 0 and 1


def test_histories_are_as_long_as_they_are(tmp_path: Path) -> None:
    path = write_tenrec(tmp_path)
    expected = [[item for item in row if item] for row in raw(path).select(HISTORY).rows()]
    data = Tenrec(tmp_path, split="random", min_count=1)
    assert [history.drop_nulls().to_list() for history in rows_of(data)["history"]] == expected
    assert {len(history) for history in expected} == {0, 1, 7, 10}
    lengths = Counter(
        int(count) for split in ("train", "val", "test") for count in (data.data[split]["history"] > 0).sum(1)
    )
    assert lengths == Counter(map(len, expected))


def test_a_history_shares_the_items(tmp_path: Path) -> None:
    path = write_tenrec(tmp_path)
    data = Tenrec(tmp_path, split="random", min_count=1)
    (history,) = data.schema.sequences
    assert history.table == "item_id"
    ids = dict(pl.read_parquet(data.folder / "vocabulary" / "item_id.parquet").select("value", "id").iter_rows())
    shown = torch.cat([data.data[split]["history"] for split in ("train", "val", "test")])
    published = {tuple(ids[item] for item in row if item) for row in raw(path).select(HISTORY).rows()}
    assert {tuple(i for i in row if i) for row in shown.tolist()} == published


def test_the_rows_of_a_user_are_split_in_order(tmp_path: Path) -> None:
    path = write_tenrec(tmp_path)
    data = Tenrec(tmp_path)
    counts = Counter(raw(path)["user_id"])
    splits = {split: Counter(data.data[split]["group"].tolist()) for split in ("train", "val", "test")}
    for user, count in counts.items():
        assert splits["train"][user] == count * 8 // 10
        assert splits["test"][user] == count - count * 9 // 10
    assert sum(count == 1 for count in counts.values()) == 3  # those are in test
    # One after the other, the splits of a user are the user's rows in the order of the file.
    parts = pl.concat(pl.read_parquet(data.folder / split / "ids.parquet") for split in ("train", "val", "test"))
    in_order = parts.group_by("user_id").agg("item_id").sort("user_id")
    assert in_order.equals(raw(path).group_by("user_id").agg("item_id").sort("user_id"))


def test_sampling_keeps_clicks_and_the_order(tmp_path: Path) -> None:
    path = write_tenrec(tmp_path, users=300)
    everything = raw(path)
    clicks = int(everything["click"].sum())
    sampled = Tenrec(tmp_path, negatives_per_click=1, split="random")
    rows = rows_of(sampled)
    assert int(rows["click"].sum()) == clicks
    assert abs((len(rows) - clicks) / clicks - 1) < 0.05
    assert rows["user_id"].is_sorted()
    assert rows.equals(rows_of(Tenrec(tmp_path, negatives_per_click=1, split="random")))
    assert not rows.equals(rows_of(Tenrec(tmp_path, negatives_per_click=1, split="random", seed=1)))
    assert len(rows_of(Tenrec(tmp_path, negatives_per_click=100))) == len(everything)


def test_sampling_by_click_without_the_task(tmp_path: Path) -> None:
    write_tenrec(tmp_path)
    like = Tenrec(tmp_path, negatives_per_click=1, tasks=["like"])
    both = Tenrec(tmp_path, negatives_per_click=1)
    assert rows_of(like)["user_id"].equals(rows_of(both)["user_id"])
    assert len({data.folder for data in (like, both, Tenrec(tmp_path))}) == 3


def test_repeated_exposures_stay(tmp_path: Path) -> None:
    path = write_tenrec(tmp_path)
    rows = rows_of(Tenrec(tmp_path, tasks=SCENARIOS["ctr_data_1M"].binary))
    assert len(rows) == len(raw(path))
    assert rows.drop("history").is_duplicated().sum() >= 20


def test_ids_that_are_no_whole_numbers_are_refused(tmp_path: Path) -> None:
    path = write_tenrec(tmp_path, "QB-article")
    text = path.read_text().splitlines()
    text[5] = text[5].replace(text[5].split(",")[1], "7.5", 1)
    path.write_text("\n".join(text))
    with pytest.raises(DataError, match=r"QB-article\.csv, line 6, column '(user|item)_id': found 7\.5"):
        rows_of(Tenrec(tmp_path, scenario="QB-article"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scenario": "QK"}, "scenario='QK'; allowed"),
        ({"tasks": ["read"]}, r"tasks=\['read'\]; allowed with ctr_data_1M are \['click'"),
        ({"tasks": []}, r"tasks=\[\]; allowed"),
        ({"scenario": "QB-article", "tasks": ["like"]}, "allowed with QB-article"),
        ({"split": "time"}, "split='time'; allowed"),
        ({"negatives_per_click": 0}, "negatives_per_click=0; allowed"),
    ],
)
def test_wrong_arguments_say_what_is_allowed(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Tenrec(tmp_path, **arguments)


def test_rows_that_are_not_drawn_are_counted(tmp_path: Path) -> None:
    path = write_tenrec(tmp_path)
    manifest = Tenrec(tmp_path, negatives_per_click=1, split="random").data.manifest
    assert manifest["dropped"]["without click, not drawn"] == len(raw(path)) - sum(manifest["rows"].values()) > 0


@pytest.mark.parametrize("kind", ["a folder", "a link to"])
def test_what_is_no_file_in_a_files_place_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "QB-video.csv"
    write_tenrec(tmp_path, "QB-video", packed=True)
    if kind == "a folder":
        path.mkdir()
    else:
        path.symlink_to("gone.csv")
    with pytest.raises(DatasetNotFoundError, match=rf"QB-video\.csv: {kind}.*, where a file is expected"):
        Tenrec(tmp_path, scenario="QB-video").files()


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    path = write_tenrec(tmp_path)
    path.write_text(path.read_text().splitlines()[0])
    with pytest.raises(DataError, match=r"ctr_data_1M\.csv: no rows"):
        rows_of(Tenrec(tmp_path))
