"""New rows from the command line: a run is all that they need."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from mtlzoo.cli import main

Run = Callable[..., str]


def table() -> pl.DataFrame:
    numbers = range(600)
    return pl.DataFrame(
        {
            "user": [f"{i % 13:03}" for i in numbers],
            "item": [i % 17 for i in numbers],
            "price": [float(i % 29) for i in numbers],
            "note": [f"n{i}" for i in numbers],
            "click": [i % 2 for i in numbers],
            "day": [i // 60 for i in numbers],
        }
    )


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a table, in a folder with the table and its prepared data."""
    root = tmp_path_factory.mktemp("fitted")
    (root / "data").mkdir()
    table().write_csv(root / "data/clicks.csv")
    described = {
        "train": "clicks.csv",
        "features": {"user": "categorical", "item": "categorical", "price": "numeric"},
        "labels": {"click": "binary"},
        "split": {"kind": "time", "column": "day", "val": 8, "test": 9},
        "user": "user",
        "item": "item",
    }
    (root / "data/schema.yaml").write_text(yaml.safe_dump(described))
    data = ["--data", "TabularDataModule", "--data.root", str(root / "data"), "--data.schema_file", "schema.yaml"]
    data += ["--data.prepared", str(root / "prepared"), "--data.batch_size", "64"]
    model = ["--model", "SharedBottom", "--trainer.accelerator", "cpu", "--trainer.max_epochs", "1"]
    main(["fit", *data, *model, "--trainer.default_root_dir", str(root / "runs")])
    return root


@pytest.fixture
def run_folder(fitted: Path, tmp_path: Path) -> Path:
    """The run alone, with neither the training's files nor its prepared data, but their description."""
    (found,) = (fitted / "runs").glob("*/version_0")
    folder = tmp_path / "run"
    shutil.copytree(found, folder)
    config = (folder / "config.yaml").read_text().replace(str(fitted), str(tmp_path / "away"))
    (tmp_path / "away/data").mkdir(parents=True)
    shutil.copy(fitted / "data/schema.yaml", tmp_path / "away/data")
    (folder / "config.yaml").write_text(config)
    return folder


def predicted(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "predictions" / "*.parquet")


def probabilities(fitted: Path, run: Run) -> Any:
    """Of the rows of the test split, as the training's own data module has them."""
    (folder,) = (fitted / "runs").glob("*/version_0")
    run("predict", "-c", str(folder / "config.yaml"))
    return predicted(folder)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_new_rows_need_the_run_alone(fitted: Path, run_folder: Path, run: Run, suffix: str) -> None:
    expected = probabilities(fitted, run)
    assert expected.columns == ["user", "item", "row", "click"]
    assert expected["row"].to_list() == list(range(540, 600))
    new = table().drop("click", "day", "note")
    getattr(new, f"write_{suffix}")(f"new.{suffix}")
    run("predict", "-c", str(run_folder / "config.yaml"), "--data.predict", f"new.{suffix}")
    found = predicted(run_folder)
    assert found.columns == ["user", "item", "row", "click"]
    assert found["row"].to_list() == list(range(600))
    assert found["user"].to_list() == table()["user"].to_list()
    assert found["item"].cast(pl.Int64).to_list() == table()["item"].to_list()
    # Batches of other lengths are rounded otherwise.
    assert (found["click"][540:] - expected["click"]).abs().max() < 1e-6


@pytest.mark.slow
def test_several_files_and_ids_that_the_training_did_not_know(run_folder: Path, run: Run) -> None:
    new = table().drop("click", "day")
    new[:100].write_csv("one.csv")
    new[100:].write_csv("two.csv")
    words = ["--data.predict", "[one.csv, two.csv]", "--data.ids", "[note]"]
    run("predict", "-c", str(run_folder / "config.yaml"), *words)
    found = predicted(run_folder)
    assert found.columns == ["user", "item", "note", "row", "row_file", "click"]
    assert found["note"].to_list() == new["note"].to_list()
    assert found["row"].to_list() == [*range(100), *range(500)]
    run("predict", "-c", str(run_folder / "config.yaml"), "--data.predict", "o*.csv")
    assert len(predicted(run_folder)) == 100


@pytest.mark.slow
def test_ids_may_be_added_to_a_trained_run(fitted: Path, run: Run) -> None:
    expected = probabilities(fitted, run)
    (folder,) = (fitted / "runs").glob("*/version_0")
    run("predict", "-c", str(folder / "config.yaml"), "--data.ids", "[note]")
    found = predicted(folder)
    assert found["note"].to_list() == [f"n{i}" for i in range(540, 600)]
    assert found.drop("note").equals(expected)


def test_what_is_wrong_with_new_rows_is_said(fitted: Path, run_folder: Path, run: Run) -> None:
    config = ["-c", str(run_folder / "config.yaml")]
    table().drop("price").write_csv("short.csv")
    with pytest.raises(ValueError, match=r"short\.csv: no column \['price'\]"):
        main(["predict", *config, "--data.predict", "short.csv"])
    (folder,) = (fitted / "runs").glob("*/version_0")
    table().drop("click").write_csv("new.csv")
    with pytest.raises(ValueError, match=r"no column \['click'\].*--data\.predict new\.csv"):
        main(["predict", "-c", str(folder / "config.yaml"), "--data.train", str(Path("new.csv").absolute())])
