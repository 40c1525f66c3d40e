"""``mtlzoo compare-samples`` on two small trainings."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from mtlzoo.cli import main
from mtlzoo.cli.compare_samples import count_positives
from mtlzoo.cli.prepare import data_of

Run = Callable[..., str]


@pytest.fixture(scope="module")
def single(shared: Path, data_options: list[str]) -> Path:
    """A single-task reference on the data of `trained`."""
    root = shared / "single"
    words = ["--model", "SingleTask", "--model.embedding_dim", "4"]
    main(["fit", *words, *data_options, "--trainer.max_epochs", "1", "--trainer.default_root_dir", str(root)])
    return root / "Synthetic-SingleTask-s0" / "version_0"


@pytest.mark.slow
def test_writes_table_and_picture(trained: Path, single: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "out"
    words = ["--runs", f"[{trained}, {trained}]", "--single", f"[{single}]", "--bootstrap", "5", "--out", str(out)]
    words += ["--wandb", "zoo"]
    printed = run("compare-samples", *words)
    assert "comparable" in printed
    assert (out / "transfer.png").stat().st_size > 10_000
    assert list(out.glob("wandb/offline-run-*/files/media/table/comparable/*.table.json"))
    assert list(out.glob("wandb/offline-run-*/files/media/images/comparable/*.png"))
    record = json.loads((out / "transfer.json").read_text())
    data = data_of([f"--config={trained / 'config.yaml'}"], prog="test")
    tasks = [task.name for task in data.schema.tasks]
    assert record["tasks"] == tasks
    with (out / "transfer.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(record["rows"])
    test_rows = data.data.manifest["rows"]["test"]
    for task in tasks:
        auc = [row for row in rows if row["task"] == task and row["metric"] == "auc"]
        assert int(auc[0]["rows"]) == sum(int(row["rows"]) for row in auc[1:]) == test_rows
    reference = json.loads((run_test(run, trained) / "results.json").read_text())["metrics"]
    for task in tasks:
        (whole,) = [r for r in rows if (r["task"], r["bin"], r["metric"]) == (task, "all", "auc")]
        assert float(whole["value"]) == pytest.approx(reference[f"test/{task}/auc"], abs=1e-6)


def run_test(run: Run, folder: Path) -> Path:
    run("test", "-c", str(folder / "config.yaml"), "--ckpt_path", "best")
    return folder


def test_counts_are_those_of_train(trained: Path) -> None:
    data = data_of([f"--config={trained / 'config.yaml'}"], prog="test")
    names, positives = count_positives(data, str(data.recipe.user), [0, 1])
    split = data.data["train"]
    frame = split.ids().with_columns(pl.Series("a", split["labels"][:, 0].numpy()))
    wanted = frame.group_by(str(data.recipe.user)).agg(pl.col("a").sum()).sort(str(data.recipe.user))
    assert names.to_list() == wanted[str(data.recipe.user)].to_list()
    assert positives[:, 0].tolist() == wanted["a"].to_list()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tasks", "[is_click]"], "comparable with nothing"),
        (["--tasks", "[is_click, nothing]"], "not among the binary tasks"),
        (["--by", "city"], "no such identifying column"),
        (["--ratio", "1.0"], "a ratio above 1"),
        (["--tasks", "[is_click, is_like]", "--quantiles", "1"], "2 quantiles or more"),
    ],
)
def test_refuses(trained: Path, single: Path, words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        main(["compare-samples", "--runs", f"[{trained}]", "--single", f"[{single}]", *words])
