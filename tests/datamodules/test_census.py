import tarfile
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from fixtures.census import write_census
from mtlzoo.datamodules import CensusIncome, DataError, DatasetNotFoundError
from mtlzoo.datamodules.download import publisher as obtain


def rows_of(data: CensusIncome) -> pl.DataFrame:
    return pl.concat(data.read())


@pytest.mark.parametrize("packed", [False, True])
def test_official_split(tmp_path: Path, packed: bool) -> None:
    data = CensusIncome(write_census(tmp_path, rows=2000, packed=packed))
    rows = data.data.manifest["rows"]
    assert rows["train"] == 2000
    assert rows["val"] + rows["test"] == 1000
    assert 420 < rows["val"] < 580
    assert dict(data.options())["split"] == "official"


def test_the_halves_of_the_test_file_depend_on_the_seed_alone(tmp_path: Path) -> None:
    write_census(tmp_path)
    zero, again, one = (rows_of(CensusIncome(tmp_path, split_seed=seed))["split"] for seed in (0, 0, 1))
    assert zero.equals(again)
    assert not zero.equals(one)


@pytest.mark.parametrize("group", ["income", "education"])
def test_task_groups_and_the_columns_they_leave_out(tmp_path: Path, group: Any) -> None:
    schema = CensusIncome(write_census(tmp_path), task_group=group).schema
    assert [task.name for task in schema.tasks] == [group, "never_married"]
    assert len(schema.numeric) == 7
    assert len(schema.categorical) == 31
    assert not {f.name for f in schema.features} & {"income_50k", "education", "marital_stat", "instance_weight"}


def test_labels(tmp_path: Path) -> None:
    rows = rows_of(CensusIncome(write_census(tmp_path)))
    assert rows["label_income"].cast(bool).to_list() == (rows["income_50k"] == "50000+.").to_list()
    assert rows["label_never_married"].to_list() == (rows["marital_stat"] == "Never married").to_list()
    college = rows.filter(pl.col("label_education"))["education"].unique().to_list()
    assert len(college) == 6
    assert not {"Some college but no degree", "High school graduate", "Children"} & set(college)


def test_values_are_stripped_and_question_marks_are_a_value(tmp_path: Path) -> None:
    rows = rows_of(CensusIncome(write_census(tmp_path)))
    text = rows.select(pl.col(pl.String))
    assert text.equals(text.select(pl.all().str.strip_chars()))
    assert set(rows["citizenship"]) == {"Native- Born in the United States", "Foreign born- Not a citizen of U S"}
    assert "?" in set(rows["country_father"])
    assert rows.null_count().sum_horizontal().item() == 0


def test_one_file_is_split_at_random_and_says_so(tmp_path: Path) -> None:
    write_census(tmp_path, rows=2000, parts=["test"], packed=True)
    with pytest.warns(UserWarning, match="can't be compared with published"):
        data = CensusIncome(tmp_path).data
    rows = data.manifest["rows"]
    assert sum(rows.values()) == 1000
    assert 740 < rows["train"] < 860


def test_no_warning_where_the_random_split_was_asked_for(tmp_path: Path) -> None:
    write_census(tmp_path, parts=["test"])
    assert CensusIncome(tmp_path, split="random").data.manifest["rows"]["train"] > 200


def test_the_random_split_takes_both_files(tmp_path: Path) -> None:
    data = CensusIncome(write_census(tmp_path, rows=600), split="random")
    assert sum(data.data.manifest["rows"].values()) == 900


def test_the_official_split_needs_both_files(tmp_path: Path) -> None:
    write_census(tmp_path, parts=["test"])
    with pytest.raises(DatasetNotFoundError, match=r"found \['test'\].*split='random'"):
        CensusIncome(tmp_path, split="official").files()


def test_the_survey_weight_is_used_when_asked(tmp_path: Path) -> None:
    write_census(tmp_path)
    data = CensusIncome(tmp_path, use_instance_weight=True)
    raw = rows_of(data).filter(pl.col("split") == "train")["instance_weight"]
    torch.testing.assert_close(data.data["train"]["weight"], raw.cast(pl.Float32).to_torch())
    assert "weight" not in CensusIncome(tmp_path).data["train"]


@pytest.mark.parametrize("archive", ["census.tar.gz", "census+income+kdd.zip", "download"])
def test_archives_are_unpacked(tmp_path: Path, archive: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_census(tmp_path / "published", rows=60)
    root = tmp_path / "root"

    def packed(path: Path) -> Path:
        path.parent.mkdir(exist_ok=True)
        tar = path if path.suffix == ".gz" else tmp_path / "census.tar.gz"
        with tarfile.open(tar, "w:gz") as inner:
            for part in ("data", "test"):
                inner.add(tmp_path / "published" / f"census-income.{part}", f"census-income.{part}")
        if path != tar:
            with zipfile.ZipFile(path, "w") as outer:
                outer.write(tar, "census.tar.gz")
        return path

    if archive == "download":
        monkeypatch.setattr(obtain, "download", lambda url, path, md5: packed(path))
    else:
        packed(root / archive)
    assert len(rows_of(CensusIncome(root, download=archive == "download"))) == 90


def test_an_unfinished_last_column_is_an_error(tmp_path: Path) -> None:
    write_census(tmp_path)
    path = tmp_path / "census-income.data"
    path.write_text(path.read_text().replace("- 50000.", "- 5000", 1))
    with pytest.raises(DataError, match=r"census-income\.data.*income_50k.*'- 5000'"):
        rows_of(CensusIncome(tmp_path))


def test_real_rows(data_root: Path) -> None:
    """Counts and rates of ../shared/reference/datasets.md, and the correlation in the MMoE paper, table 1 (.2373)."""
    root = data_root / "census-income"
    if not root.is_dir():
        pytest.skip(f"no {root}")
    rows = rows_of(CensusIncome(root, split="random"))
    assert len(rows) == 99_762
    assert rows["label_income"].sum() == 6_186
    assert rows["label_never_married"].mean() == pytest.approx(0.432, abs=5e-4)
    correlation = rows.select(pl.corr(pl.col("label_education").cast(int), pl.col("label_never_married").cast(int)))
    assert abs(correlation.item()) == pytest.approx(0.2373, abs=1e-3)
