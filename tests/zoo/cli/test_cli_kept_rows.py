"""`mtlzoo test --keep_rows`: the rows of test, from which every number of results.json can be had again."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from sklearn.metrics import accuracy_score, roc_auc_score, root_mean_squared_error

from fixtures.lastfm import write_lastfm
from fixtures.movielens import write_movielens
from fixtures.tabular import write_table
from mtlzoo.cli import main
from mtlzoo.compare.results import Result
from mtlzoo.metrics.ties import RESOLUTION, tie_starts

Run = Callable[..., str]


def result(folder: Path) -> Result:
    record = json.loads((folder / "results.json").read_text())
    return Result(folder, "MMoE", "data", "MMoE", "sum", 0, record)


def auc(rows: pl.DataFrame, task: str) -> float:
    """By sklearn; logits that differ in their last bits are ties, as in the metrics of a test."""
    seen = rows.drop_nans(f"label:{task}").sort(task)
    places = tie_starts(torch.tensor(seen[task].to_list()), RESOLUTION).cumsum(0)
    weight = seen["weight"].cast(pl.Float64) if "weight" in seen.columns else None
    return float(roc_auc_score(seen[f"label:{task}"], places, sample_weight=weight))


def fit(data: list[str], *words: str) -> Path:
    small = ["--data.prepared", "prepared", "--trainer.accelerator", "cpu", "--trainer.max_epochs", "1"]
    main(["fit", *data, *small, *words])
    (folder,) = Path("runs").glob("*/version_0")
    return folder


def test(folder: Path, run: Run, *words: str) -> str:
    return run("test", "-c", f"{folder}/config.yaml", "--ckpt_path", "best", *words)


test.__test__ = False  # type: ignore[attr-defined]  # the command, no test


def test_the_metrics_are_those_of_the_rows(tmp_path: Path, run: Run) -> None:
    """Of a table with weights, users, labels of three kinds and some that are not observed."""
    write_table(tmp_path / "raw")
    data = ["--data", "TabularDataModule", "--data.root", str(tmp_path / "raw"), "--data.schema_file", "schema.yaml"]
    folder = fit(data, "--model", "SharedBottom", "--data.eval_batch_size", "64")
    test(folder, run, "--keep_rows", "100")
    kept, metrics = result(folder).rows, result(folder).metrics
    assert kept is not None
    assert kept["row"].to_list() == list(range(100))
    raw = pl.read_parquet(tmp_path / "raw/clicks.parquet").filter(pl.col("day") == 9)
    assert kept["weight"].to_list() == pytest.approx(raw["importance"].to_list())
    assert kept["label:click"].to_list() == raw["click"].to_list()
    assert kept["label:stars"].fill_nan(None).to_list() == raw["rating"].to_list()
    users = kept.select("user").with_columns(raw["user_id"])
    assert users["user"].dtype == pl.Int64
    assert users.unique().height == users["user"].n_unique() == raw["user_id"].n_unique() > 10
    weight = kept["weight"].cast(pl.Float64).to_numpy()
    assert metrics["test/click/auc"] == pytest.approx(auc(kept, "click"), abs=1e-7)  # masses of 32 bits
    assert metrics["test/click/auc"] != pytest.approx(auc(kept.drop("weight"), "click"), abs=1e-4)
    chosen = kept["kind"].list.arg_max() if kept["kind"].dtype == pl.List else kept["kind"].arr.arg_max()
    accuracy = accuracy_score(kept["label:kind"], chosen, sample_weight=weight)
    assert metrics["test/kind/accuracy"] == pytest.approx(accuracy, abs=1e-6)
    seen = kept.drop_nans("label:stars")
    rmse = root_mean_squared_error(seen["label:stars"], seen["stars"], sample_weight=seen["weight"].to_numpy())
    assert metrics["test/stars/rmse"] == pytest.approx(rmse, abs=1e-6)


def test_classes_of_a_row_are_lists(tmp_path: Path, run: Run) -> None:
    write_movielens(tmp_path / "raw", "1m")
    folder = fit(["--data", "MovieLens", "--data.root", str(tmp_path / "raw")], "--model", "SharedBottom")
    test(folder, run, "--keep_rows", "100000")
    kept = result(folder).rows
    assert kept is not None
    assert "weight" not in kept.columns
    logits, labels = kept["genres"].to_numpy(), kept["label:genres"].to_numpy()
    assert logits.shape == labels.shape == (len(kept), 18)


def test_nothing_unless_asked_for_and_nothing_stale(trained: Path, run: Run) -> None:
    assert "kept" not in test(trained, run, "--keep_rows", "300")
    kept = result(trained).rows
    assert kept is not None
    assert kept["is_click"].dtype == pl.Float32
    assert result(trained).metrics["test/is_click/auc"] == pytest.approx(auc(kept, "is_click"), abs=1e-7)
    (trained / "tested/part-00001.parquet").write_bytes(b"of two processes")
    test(trained, run, "--keep_rows", "300")
    assert [path.name for path in (trained / "tested").iterdir()] == ["part-00000.parquet"]
    said = test(trained, run, "--keep_rows", "299")
    assert "--keep_rows 299: no rows are kept; test has 300." in said
    assert result(trained).rows is None
    test(trained, run, "--keep_rows", "300")
    assert "kept" not in test(trained, run)
    assert result(trained).rows is None


def test_a_test_that_fails_leaves_the_former_rows(trained: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    test(trained, run, "--keep_rows", "300")
    before = (trained / "tested/part-00000.parquet").read_bytes()

    def fails(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("mtlzoo.training.evaluated.EvaluatedModule.on_test_epoch_end", fails)
    with pytest.raises(MemoryError):
        test(trained, run, "--keep_rows", "300")
    assert {path.name: path.read_bytes() for path in (trained / "tested").iterdir()} == {"part-00000.parquet": before}
    monkeypatch.undo()
    test(trained, run)


def test_a_ranking_has_no_rows(tmp_path: Path, run: Run) -> None:
    write_lastfm(tmp_path / "raw")
    folder = fit(["--data", "LastFM", "--data.root", str(tmp_path / "raw")], "--model", "PMTRec")
    said = test(folder, run, "--keep_rows", "100000")
    assert "no rows are kept; PMTRec ranks items for users here, and tests no rows." in said
    assert not (folder / "tested").exists()


def test_a_test_step_that_returns_nothing_is_refused(trained: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtlzoo.training.evaluated.EvaluatedModule.test_step", lambda *_: None)
    with pytest.raises(ValueError, match="test_step of MMoE returns no logits"):
        test(trained, run, "--keep_rows", "300")
    assert result(trained).rows is None


@pytest.mark.every_case
@pytest.mark.parametrize("number", ["-1", "1.5", "all"])
def test_what_is_no_number_of_rows_is_refused(trained: Path, run: Run, number: str) -> None:
    words = ["-c", f"{trained}/config.yaml", "--keep_rows", number]
    assert "--keep_rows" in run("test", *words, code=2)


def test_a_task_that_is_called_like_a_column_is_refused(tmp_path: Path, run: Run) -> None:
    write_table(tmp_path / "raw")
    described = (tmp_path / "raw/schema.yaml").read_text().replace("name: stars", "name: user")
    (tmp_path / "raw/schema.yaml").write_text(described)
    data = ["--data", "TabularDataModule", "--data.root", str(tmp_path / "raw"), "--data.schema_file", "schema.yaml"]
    folder = fit(data, "--model", "SharedBottom")
    with pytest.raises(ValueError, match=r"--keep_rows: \['user'\] are tasks"):
        test(folder, run, "--keep_rows", "100")


def test_a_link_is_refused_before_the_test(trained: Path, run: Run, tmp_path: Path) -> None:
    shutil.rmtree(trained / "tested", ignore_errors=True)
    (tmp_path / "elsewhere").mkdir()
    (trained / "tested").symlink_to(tmp_path / "elsewhere")
    try:
        words = ["-c", f"{trained}/config.yaml", "--ckpt_path", "best"]
        assert "tested: is a link" in run("test", *words, "--keep_rows", "300", code=2)
        run("test", *words)
    finally:
        (trained / "tested").unlink()
