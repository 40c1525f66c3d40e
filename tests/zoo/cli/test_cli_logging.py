"""metrics.csv, Weights & Biases, and the small parts of a run folder."""

import csv
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonargparse import Namespace, dict_to_namespace
from lightning.pytorch.loggers import WandbLogger

from mtlzoo.cli import main
from mtlzoo.cli.description import describe
from mtlzoo.cli.fit import ZooCLI
from mtlzoo.cli.logs import MetricsFile
from mtlzoo.cli.run_folder import folder_of, new_folder, write_json

Run = Callable[..., str]


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_metrics_file_takes_new_columns(tmp_path: Path) -> None:
    log = MetricsFile(tmp_path)
    log.log_metrics({"epoch": 0, "train/loss": 0.5}, 4)
    log.log_metrics({"epoch": 0, "train/loss": 0.25}, 9)
    log.log_metrics({"epoch": 0, "val/auc": 0.75}, 9)
    log.log_metrics({"epoch": 1, "train/loss": 0.125}, 14)
    expected = [("4", "0.5", ""), ("9", "0.25", ""), ("9", "", "0.75"), ("14", "0.125", "")]
    assert [(row["step"], row["train/loss"], row["val/auc"]) for row in rows(tmp_path)] == expected
    assert list(rows(tmp_path)[0]) == ["epoch", "step", "train/loss", "val/auc"]


def test_metrics_file_of_a_resumed_run_replaces_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    first = MetricsFile(tmp_path)
    for step in (4, 9, 14):
        first.log_metrics({"epoch": 0, "train/loss": step}, step)
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("1,")  # a row that a kill cut off
    again = MetricsFile(tmp_path, first_step=10)
    again.log_metrics({"epoch": 0, "train/loss": 100}, 14)
    assert [(row["step"], row["train/loss"]) for row in rows(tmp_path)] == [("4", "4"), ("9", "9"), ("14", "100")]


def test_wandb_run_can_be_grouped_by_model_data_rule_and_seed(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--trainer.logger+=WandbLogger", "--trainer.logger.project", "p"]
    words += ["--trainer.logger.save_dir", str(tmp_path / "w")]
    words += ["--trainer.max_epochs", "1"]
    cli = ZooCLI(["fit", *options, *words, "--seed_everything", "3"])
    logger = cli.trainer.loggers[1]
    assert isinstance(logger, WandbLogger)
    run = logger.experiment
    config = dict(run.config)
    logged, until = {"val/auc_mean", "val/is_click/auc"}, time.monotonic() + 30
    while not logged <= set(dict(run.summary)):  # wandb's service counts in what was logged some time later
        assert time.monotonic() < until
        time.sleep(0.05)
    name = run.name
    run.finish()
    assert {k: config[k] for k in ("model_name", "data_name", "rule_name", "seed")} == {
        "model_name": "MMoE",
        "data_name": "Synthetic",
        "rule_name": "sum",
        "seed": 3,
    }
    assert config["model"]["class_path"] == "mtlzoo.MMoE"
    assert config["model"]["init_args"]["experts"] == 2
    assert config["data"]["init_args"]["rows"] == 3000
    assert config["data_fingerprint"].startswith("Synthetic-")
    assert not [key for key in config if key.startswith("_")]
    chosen = "embedding_dim=4 experts=2 rows=3000 users=100 batch_size=256"
    assert name == f"Synthetic-MMoE-s3 {chosen} table_weight_decay=0.008 averaging=0.998"
    assert "anonymous" not in capsys.readouterr().err
    assert list(tmp_path.glob("w/wandb/offline-run-*/*.wandb"))
    assert rows(tmp_path / "runs/Synthetic-MMoE-s3/version_0")  # metrics.csv always


def test_learning_rate_monitor_needs_a_logger_and_has_one(options: list[str], tmp_path: Path) -> None:
    words = ["--model.schedule", "linear", "--trainer.max_epochs", "1", "--trainer.log_every_n_steps", "2"]
    main(["fit", *options, "-c", "configs/callbacks/learning_rate.yaml", *words])
    logged = rows(tmp_path / "runs/Synthetic-MMoE-s0/version_0")
    columns = [name for name in logged[0] if name.startswith("lr-")]
    assert len(columns) == 2  # dense weights and tables
    for column in columns:
        rates = [float(row[column]) for row in logged if row[column]]
        assert len(set(rates)) == 5
        assert rates == sorted(rates, reverse=True)


def options_of(*callbacks: tuple[str, dict[str, Any]], model: dict[str, Any] | None = None, **table: Any) -> Namespace:
    """Parsed options with these callbacks (name of a rule, options of rule and callback) or of this table."""
    data = {"class_path": "mtlzoo.datamodules.Synthetic", "init_args": {"rows": 10, "batch_size": 4096}}
    if table:
        table = {"root": ".", "schema_file": None, "train": None} | table
        data = {"class_path": "mtlzoo.datamodules.TabularDataModule", "init_args": table}
    listed = []
    for name, given in callbacks:
        rule = {k: v for k, v in given.items() if k in ("order", "seed", "c")}
        rule = {"class_path": f"mtlzoo.callbacks.{name}", "init_args": rule}
        others = {k: v for k, v in given.items() if k not in rule["init_args"]}
        kind = "LossBalancing" if name == "UW" else "GradientSurgery"
        listed.append({"class_path": f"mtlzoo.callbacks.{kind}", "init_args": {"rule": rule, **others}})
    model = {"class_path": "mtlzoo.MMoE", "init_args": model or {}}
    parsed = {"model": model, "data": data, "trainer": {"callbacks": listed}, "seed_everything": 0}
    namespace: Namespace = dict_to_namespace(parsed)
    return namespace


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (options_of(), "Synthetic-MMoE-s0"),
        (options_of(model={"lr": 0.5}), "Synthetic-MMoE-s0"),
        (options_of(("PCGrad", {"order": "random", "seed": 0, "level": "model"})), "Synthetic-MMoE-PCGrad-s0"),
        (options_of(("PCGrad", {"level": "row"})), "Synthetic-MMoE-PCGrad-row-s0"),
        (options_of(("PCGrad", {"order": "fixed", "level": "parameter"})), "Synthetic-MMoE-PCGrad-fixed-parameter-s0"),
        (options_of(("CAGrad", {"c": 0.25, "at": "representation"})), "Synthetic-MMoE-CAGrad-c=0.25-representation-s0"),
        (options_of(("CAGrad", {"every_n_steps": 4})), "Synthetic-MMoE-CAGrad-every_n_steps=4-s0"),
        (options_of(("UW", {}), ("PCGrad", {"level": "row"})), "Synthetic-MMoE-UW+PCGrad-row-s0"),
        (options_of(train="clicks.parquet", root="/data/shop"), "clicks-MMoE-s0"),
        (options_of(train=["log.2024.csv.gz"], root="/data/shop"), "log-MMoE-s0"),
        (options_of(train="sub/train.csv", root="/data/shop"), "shop-MMoE-s0"),
        (options_of(train="parts/*.parquet", root="/data/shop"), "shop-MMoE-s0"),
        (options_of(train=["a.csv", "b.csv"], root="/data/my shop/"), "my_shop-MMoE-s0"),
        (options_of(schema_file="schema.yaml", root="/data/shop"), "shop-MMoE-s0"),
        (options_of(schema_file="schema.yaml", root="/"), "table-MMoE-s0"),
    ],
)
def test_run_names(options: Namespace, name: str) -> None:
    assert describe(options)["run_name"] == name


def test_what_is_not_the_default_tells_runs_apart() -> None:
    plain, other = (
        describe(options_of(("PCGrad", rule), model=m)) for rule, m in (({}, {}), ({"order": "mean"}, {"lr": 1}))
    )
    assert (plain["changed"], plain["rule_options"]) == ("rows=10 batch_size=4096", "")
    assert (other["changed"], other["rule_options"]) == ("lr=1 rows=10 batch_size=4096", "mean")


def test_new_folders_are_counted_as_numbers(tmp_path: Path) -> None:
    for _ in range(11):
        folder = new_folder(tmp_path, "run")
    assert folder == tmp_path / "run/version_10"
    (tmp_path / "run/version_old").mkdir()
    assert new_folder(tmp_path, "run") == tmp_path / "run/version_11"


def test_folder_of_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "run/checkpoints/best.ckpt"
    path.parent.mkdir(parents=True)
    path.touch()
    assert folder_of(path) is None
    (tmp_path / "run/config.yaml").touch()
    assert folder_of(path) == tmp_path / "run"
    assert folder_of(tmp_path / "run/best.ckpt") is None


def test_json_has_null_for_what_is_undefined_and_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": math.nan, "b": [1.5, math.inf], "c": {"d": True}})
    assert json.loads(path.read_text()) == {"a": None, "b": [1.5, None], "c": {"d": True}}
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text())["b"] == [1.5, None]


DAMAGED = {
    "without step": "a,b\n1,2\n",
    "empty": "",
    "header only": "epoch,step,train/loss\n",
    "other columns": "epoch,step,mine\n0,4,1.5\n",
    "blank": "\n\n\n",
    "a cell too many": "epoch,step,train/loss\n0,4,1,7\n0,9,2\n",
    "text": "epoch,step,train/loss\n0,4,lost\n0,9,2\n",
    "bytes": "epoch,step,train/loss\n0,4,\0\n0,9,\ufffd\n",
    "a long line": "epoch,step,train/loss\n" + "9" * 200_000,
    "quotes": 'epoch,step,train/loss\n0,4,"1\n0,9,2\n',
}


@pytest.mark.parametrize("kind", DAMAGED)
@pytest.mark.filterwarnings("ignore:.*rows are damaged")
def test_a_damaged_metrics_file_does_not_stop_a_resumed_run_and_is_kept(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text(DAMAGED[kind])
    log = MetricsFile(tmp_path, first_step=10)
    log.log_metrics({"epoch": 1, "train/loss": 0.5}, 14)
    log.log_metrics({"epoch": 1, "train/loss": 0.25}, 19)
    found = rows(tmp_path)
    assert [(row["step"], row["train/loss"]) for row in found[-2:]] == [("14", "0.5"), ("19", "0.25")]
    assert all(row["step"].isdigit() for row in found)
    if kind == "other columns":
        assert (found[0]["step"], found[0]["mine"]) == ("4", "1.5")
    kept = [path.read_text() for path in tmp_path.glob("metrics.damaged-*.csv")]
    assert kept == ([DAMAGED[kind]] if kind not in ("empty", "header only", "blank", "other columns") else [])


def test_a_validation_that_runs_again_has_one_row(tmp_path: Path) -> None:
    """A checkpoint that was written before the validation after its step."""
    first = MetricsFile(tmp_path)
    for metrics, step in (({"train/loss": 1.0}, 8), ({"train/loss": 2.0}, 9), ({"val/auc": 0.5}, 9)):
        first.log_metrics(metrics, step)
    again = MetricsFile(tmp_path, first_step=10, validates=True)
    again.log_metrics({"val/auc": 0.5}, 9)
    with (tmp_path / "metrics.csv").open() as file:
        assert [(row["step"], row["val/auc"]) for row in csv.DictReader(file)] == [("8", ""), ("9", ""), ("9", "0.5")]
