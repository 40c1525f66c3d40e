"""`ColdStartReport` at ``mtlzoo test``, in one process and in two, and ``mtlzoo compare-cold-start``."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import polars as pl
import pytest
import torch
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning.pytorch.loggers import WandbLogger
from ranks import run_on_ranks
from sklearn.metrics import roc_auc_score

from fixtures.movielens import write_movielens
from mtlzoo import ColdStartReport, PMTRec, SharedBottom, load
from mtlzoo.cli.prepare import data_of
from mtlzoo.datamodules import MovieLens

Run = Callable[..., str]
EDGES = (0, 5, 20, 100)


def table_of(folder: Path, name: str = "cold_start") -> list[dict[str, Any]]:
    with (folder / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def bucket(count: int) -> str:
    names = ("0", "1-5", "6-20", "21-100", ">100")
    return next((name for name, edge in zip(names, EDGES, strict=False) if count <= edge), names[-1])


@pytest.mark.slow
def test_every_bucket_has_the_auc_of_its_rows(trained: Path, run: Run, tmp_path: Path) -> None:
    words = ["-c", str(trained / "config.yaml"), "--ckpt_path", "best", "--trainer.callbacks+=ColdStartReport"]
    printed = run("test", *words)
    assert "Cold start" in printed
    assert (trained / "cold_start.png").stat().st_size > 10_000
    rows = table_of(trained)
    data = data_of([f"--config={trained / 'config.yaml'}"], prog="test")
    model = load(trained / "checkpoints" / "best.ckpt")
    with torch.inference_mode():
        predicted = torch.cat([model.predict_step(batch, 0)["is_click"] for batch in data.test_dataloader()])
    for column, side in ((0, "user"), (1, "item")):
        assert data.schema.categorical[column].name == getattr(data.schema, side)
        ids = data.data["train"]["categorical"][:, column].tolist()
        counts = [0 if i == 1 else ids.count(i) for i in data.data["test"]["categorical"][:, column].tolist()]
        frame = pl.DataFrame(
            {"bucket": map(bucket, counts), "p": predicted, "y": data.data["test"]["labels"][:, 0].numpy()}
        )
        found = {r["bucket"]: r for r in rows if (r["side"], r["task"]) == (side, "is_click")}
        assert list(found) == ["0", "1-5", "6-20", "21-100", ">100"]
        assert sum(int(r["rows"]) for r in found.values()) == len(frame)
        for part in frame.partition_by("bucket"):
            mine = found[part["bucket"][0]]
            assert int(mine["rows"]) == len(part)
            if part["y"].n_unique() == 2:
                assert float(mine["value"]) == pytest.approx(roc_auc_score(part["y"], part["p"]), abs=1e-6)
            else:
                assert mine["value"] == "nan"
    assert len({r["bucket"] for r in rows if int(r["rows"])}) > 1


@pytest.mark.slow
def test_runs_side_by_side(trained: Path, run: Run, tmp_path: Path) -> None:
    other = tmp_path / "other" / "version_0"
    other.mkdir(parents=True)
    run("test", "-c", str(trained / "config.yaml"), "--ckpt_path", "best", "--trainer.callbacks+=ColdStartReport")
    rows = table_of(trained)
    with (other / "cold_start.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(r for r in rows if r["task"] == "is_click")
    out = tmp_path / "out"
    printed = run("compare-cold-start", "--runs", f"[{trained}, {other}]", "--out", str(out), "--wandb", "zoo")
    assert "other (is_click)" in printed
    table = table_of(out, "compare_cold_start")
    assert {r["run"] for r in table} == {"MMoE", "other (is_click)"}
    assert len(table) == len(rows) + sum(r["task"] == "is_click" for r in rows)
    assert (out / "compare_cold_start.png").stat().st_size > 10_000
    assert list(out.glob("wandb/offline-run-*/files/media/table/cold_start/*.table.json"))


def test_a_run_without_report_is_named_with_the_remedy(tmp_path: Path) -> None:
    from mtlzoo.cli import main

    with pytest.raises(FileNotFoundError, match=r"no .*cold_start\.csv\. Run: mtlzoo test -c .*ColdStartReport"):
        main(["compare-cold-start", "--runs", f"[{tmp_path}]"])


def trainer_with(tmp_path: Path, callback: L.Callback, logger: Any = False) -> L.Trainer:
    return L.Trainer(callbacks=[callback], logger=logger, accelerator="cpu", default_root_dir=tmp_path)


@pytest.mark.slow
def test_sampled_negatives_and_unknown_ids_do_not_count(tmp_path: Path) -> None:
    write_movielens(tmp_path / "raw", users=60)
    data = MovieLens(tmp_path / "raw", split="user", test=0.3, negatives=3, eval_batch_size=64)
    trainer_with(tmp_path, ColdStartReport()).test(SharedBottom(data.schema), data, verbose=False)
    rated = pl.concat(data.read()).filter(pl.col("interaction") == 1)
    of_film = dict(rated.filter(pl.col("split") == "train").group_by("item").len().iter_rows())
    counts = rated.filter(pl.col("split") == "test")["item"].to_list()
    expected = pl.Series([bucket(of_film.get(item, 0)) for item in counts]).value_counts().rows()
    rows = [r for r in table_of(tmp_path) if (r["side"], r["task"]) == ("item", "rating")]
    assert {r["bucket"]: int(r["rows"]) for r in rows if int(r["rows"])} == dict(expected)
    assert {(r["task"], r["metric"]) for r in table_of(tmp_path)} == {
        *(("rating", "rmse"), ("genres", "f1_micro"), ("interaction", "auc"))
    }


@pytest.mark.slow
def test_rankings_leave_their_users_out(tmp_path: Path) -> None:
    write_movielens(tmp_path / "raw")
    data = MovieLens(tmp_path / "raw", tasks=["recommend", "rating"], split="user_random", test=0.2)
    logger = WandbLogger(project="zoo", save_dir=tmp_path)
    trainer_with(tmp_path, ColdStartReport(), logger).test(PMTRec(data.schema), data, verbose=False)
    logger.experiment.finish()
    for kind, suffix in (("table", "table.json"), ("images", "png")):
        assert list(tmp_path.glob(f"wandb/offline-run-*/files/media/{kind}/cold_start/*.{suffix}"))
    rows = table_of(tmp_path)
    assert {r["task"] for r in rows} == {"rating"}
    assert sum(int(r["rows"]) for r in rows if r["side"] == "user") == data.data["test"].rows


def test_a_model_of_someone_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"needs a model and a data module of mtlzoo"):
        trainer_with(tmp_path, ColdStartReport()).test(BoringModel(), verbose=False)


@pytest.mark.slow
def test_two_processes_report_what_one_does(trained: Path, options: list[str], tmp_path: Path, run: Run) -> None:
    words = ["test", "-c", str(trained / "config.yaml"), "--ckpt_path", "best", "--trainer.callbacks+=ColdStartReport"]
    run(*words)
    one = table_of(trained)
    (trained / "cold_start.csv").unlink()
    run_on_ranks("mtlzoo", 2, *words, "--trainer.devices", "2", "--trainer.strategy", "ddp")
    two = table_of(trained)
    assert [{**row, "value": ""} for row in two] == [{**row, "value": ""} for row in one]
    for mine, theirs in zip(two, one, strict=True):
        assert float(mine["value"]) == pytest.approx(float(theirs["value"]), abs=1e-6, nan_ok=True)
