"""Wrong words on the command line get a short answer that helps."""

import errno
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

import mtlzoo
from mtlzoo import MultiTaskModule
from mtlzoo.cli import main, prepare, refusals
from mtlzoo.cli.fit import ZooCLI
from mtlzoo.cli.rehearsal import are_measured
from mtlzoo.datamodules import Synthetic
from mtlzoo.datamodules.errors import DataError, DatasetNotFoundError
from mtlzoo.layers import demand

Run = Callable[..., str]
EXPORTED = {name: getattr(mtlzoo, name) for name in mtlzoo.__all__ if name != "__version__"}
MODELS = sorted(
    name
    for name, kind in EXPORTED.items()
    if isinstance(kind, type) and issubclass(kind, MultiTaskModule) and kind is not MultiTaskModule
)


PCD = ["--trainer.callbacks+=GradientSurgery", "--trainer.callbacks.rule=PCD"]


class ParsedError(Exception):
    """Ends a command once its options are read."""


def parsed(*words: str) -> Any:
    """The options of ``fit``."""
    found = []

    def stop(cli: ZooCLI) -> None:
        found.append(cli.options)
        raise ParsedError

    with pytest.MonkeyPatch.context() as patch, pytest.raises(ParsedError):  # noqa: PT012
        patch.setattr(ZooCLI, "before_instantiate_classes", stop)
        ZooCLI(["fit", *words])
    return found[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model", "MMoEE", "--data", "Synthetic"], "--model: no class or file 'MMoEE'. Did you mean 'MMoE'?"),
        (["--model", "MMoE", "--data", "KuaiRnd"], "--data: no class or file 'KuaiRnd'. Did you mean 'KuaiRand'?"),
        (
            ["--model", "MMoE", "--data", "Synthetic", "--model.n_experts", "3"],
            "--model.n_experts: MMoE has no option 'n_experts'. Did you mean 'experts'?",
        ),
        (
            ["--model", "PLE", "--data", "Synthetic", "--model.learning_rate", "3"],
            "--model.learning_rate: PLE has no option 'learning_rate'.",
        ),
        (
            ["--model", "MMoE", "--data", "Synthetic", "--model.lr", "fast"],
            "--model.lr: Expected a <class 'float'>. Got value: fast",
        ),
        (["--model", "MMoE", "--data", "Synthetic", "--model.optimizer", "lion"], "adagrad"),
        (["--data", "Synthetic"], ", or the path of a class or a config"),
        (["--model", "MMoE"], "--data is required: "),
        (["--modle", "MMoE", "--data", "Synthetic"], "--modle"),
        (["--model", "MMoE", "--data", "Synthetic", "--data.rows", "-3"], "Synthetic: rows=-3; allowed are"),
        (
            ["--model", "MMoE", "--data", "Synthetic", "--data.rows", "90", "--model.accumulate", "0"],
            "accumulate=0, warmup_steps=0",
        ),
        (
            ["--model", "MMoE", "--data", "Synthetic", "--trainer.callbacks+=EarlyStoping"],
            "--trainer.callbacks: no class or file 'EarlyStoping'. Did you mean 'EarlyStopping'?",
        ),
        (["--model", "MMoE", "--data", "Synthetic", "--trainer.gradient_clip_val", "1"], "use --model.clip_norm"),
        (
            ["--model", "MMoE", "--data", "Synthetic", "--trainer.accumulate_grad_batches", "2"],
            "use --model.accumulate",
        ),
        (["--model", "MMoE", "--data", "Synthetic", "--optimizer", "SGD"], "--optimizer"),
    ],
)
def test_wrong_options(run: Run, words: list[str], said: str) -> None:
    printed = run("fit", *words, code=2)
    assert printed.count("mtlzoo") >= 1
    assert said in printed
    assert len(printed) < 900
    assert not Path("runs").exists()


@pytest.mark.parametrize("value", ["None", "none", "null", "NULL", "Null"])
@pytest.mark.parametrize("joined", [True, False])
def test_null_in_every_spelling(value: str, joined: bool) -> None:
    """As sweeps of W&B write it, and people."""
    words = ["--model.clip_norm", value, "--patience", value, "--trainer.max_time", value, "--model.table_lr", value]
    joins = [f"{name}={value}" for name in words[::2]]
    config = parsed("--model=MMoE", "--data=Synthetic", *(joins if joined else words))
    assert config.model.init_args.clip_norm is None
    assert (config.patience, config.trainer.max_time, config.model.init_args.table_lr) == (None, None, None)


@pytest.mark.parametrize(("value", "means"), [("True", True), ("False", False), ("true", True), ("FALSE", False)])
def test_switches_in_every_spelling(value: str, means: bool) -> None:
    config = parsed("--model=MMoE", "--data=Synthetic", f"--model.sparse={value}", f"--trainer.barebones={value}")
    assert (config.model.init_args.sparse, config.trainer.barebones) == (means, means)


def test_a_value_none_stays_one() -> None:
    words = ["--trainer.callbacks+=GradientSurgery", "--trainer.callbacks.rule=MGDA"]
    config = parsed("--model=MMoE", "--data=Synthetic", *words, "--trainer.callbacks.rule.normalise=none")
    assert config.trainer.callbacks[0].init_args.rule.init_args.normalise == "none"


@pytest.mark.parametrize(
    "words",
    [
        ["--model.lr=0.5", "--model=MMoE", "--data.rows=7", "--data=Synthetic"],
        ["--data.rows", "7", "--model.lr", "0.5", "--data", "Synthetic", "--model", "MMoE"],
        [
            "--trainer.max_steps=-1",
            "--model.experts=3",
            "--model.lr=0.5",
            "--data=Synthetic",
            "--data.rows=7",
            "--model=MMoE",
        ],
    ],
)
def test_options_may_come_before_their_class(words: list[str]) -> None:
    config = parsed(*words)
    assert (config.model.class_path, config.model.init_args.lr, config.data.init_args.rows) == ("mtlzoo.MMoE", 0.5, 7)


def test_a_class_that_comes_later_still_replaces_one() -> None:
    config = parsed("--model=PLE", "--model.lr=0.5", "--model=MMoE", "--data=Synthetic")
    assert config.model.class_path == "mtlzoo.MMoE"


def test_a_missing_model_is_told_with_all_there_are(run: Run) -> None:
    told = run("fit", "--data", "Synthetic", code=2)
    named = told.split("--model is required: ")[1].split(", or the path")[0].split(", ")
    assert set(MODELS) <= set(named)  # other tests of this process may have defined more


def test_wrong_command(run: Run) -> None:
    assert "Did you mean 'fit'?" in run("fitt", "--model", "MMoE", code=2)


def test_help_of_one_model_lists_its_own_options_and_those_of_every_model(run: Run) -> None:
    printed = run("fit", "--model.help", "MMoE", code=0)
    assert all(f"--model.{name}" in printed for name in ("experts", "gate_units", "lr", "clip_norm", "schedule"))
    assert "--data.seed" in run("fit", "--data.help", "Synthetic", code=0)


def test_help_of_a_command_names_the_classes(run: Run) -> None:
    printed = run("test", "--help", code=0)
    assert all(name in printed for name in ("mtlzoo.MMoE", "mtlzoo.datamodules.KuaiRand", "--ckpt_path"))
    assert not any(name in printed for name in ("--weights_only", "--optimizer", "--lr_scheduler", "--verbose"))


def test_wrong_data_end_the_command_with_a_message_and_raise_in_python(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fit", "--model", "MMoE", "--data", "KuaiRand", "--data.root", str(tmp_path), "--data.download", "false"]
    with pytest.raises(DatasetNotFoundError, match="log_standard"):
        main(words)
    monkeypatch.setattr(sys, "argv", ["mtlzoo", *words])
    with pytest.raises(SystemExit, match=r"^2$"):
        main()
    assert "mtlzoo fit: error: KuaiRand: no log_standard" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["mtlzoo", "prepare", *words[3:]])
    with pytest.raises(SystemExit, match=r"^2$"):
        main()
    assert "mtlzoo prepare: error: KuaiRand: no log_standard" in capsys.readouterr().err


def given_on_the_command_line(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> None:
    """Has `prepare` end with an error that its caller, this module, raised or, with None, made by mistake."""

    def run(args: list[str]) -> None:
        if error is not None:
            raise error
        _ = [][1]

    monkeypatch.setattr(prepare, "run", run)
    monkeypatch.setattr(sys, "argv", ["mtlzoo", "prepare"])
    monkeypatch.setattr(refusals, "RAISERS", (__name__.partition(".")[0],))
    main()


@pytest.mark.parametrize(
    ("error", "said", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "run/last.ckpt"), "run/last.ckpt: No space left", 2),
        (PermissionError(errno.EACCES, "Permission denied", "a"), "a: Permission denied.", 2),
        (DataError("row 3"), "row 3", 2),
        (ValueError("lr=-1; allowed are"), "lr=-1; allowed are", 2),
        (MisconfigurationException("No supported gpu backend"), "No supported gpu backend", 2),
        (FloatingPointError("The loss is not finite"), "The loss is not finite", 1),
    ],
)
def test_errors_of_the_user_are_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, said: str, code: int
) -> None:
    with pytest.raises(SystemExit, match=f"^{code}$"):
        given_on_the_command_line(monkeypatch, error)
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("error", [None, AssertionError(), KeyError("name"), AttributeError("x")])
def test_bugs_show_where_they_arose(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> None:
    with pytest.raises(type(error) if error else IndexError):
        given_on_the_command_line(monkeypatch, error)


def test_an_error_that_a_library_raises_within_our_code_is_a_bug() -> None:
    with pytest.raises(ValueError, match="reshape") as failed:
        torch.zeros(3).numpy().reshape(2, 2)
    assert not refusals.mendable(failed.value)


def weighing(callback: str, rule: str, *options: str) -> list[str]:
    """Words that add a callback with a rule and its options."""
    words = [f"+={callback}", f".rule={rule}", *(f".rule.{option}" for option in options)]
    return [f"--trainer.callbacks{word}" for word in words]


def stopping(callback: str, monitor: str) -> list[str]:
    """Words that add a callback which watches a score."""
    return [f"--trainer.callbacks+={callback}", f"--trainer.callbacks.monitor={monitor}"]


class Logs(L.Callback):
    """Logs a score that nobody knows."""


@pytest.mark.parametrize("monitor", ["val/auc_mean", "val/is_click/gauc_impressions", "train/loss", "step"])
def test_scores_that_there_are_may_be_watched(monitor: str) -> None:
    model = mtlzoo.MMoE(Synthetic(rows=3000, users=100).schema)
    watching = [EarlyStopping(monitor), ModelCheckpoint(monitor=monitor), ModelCheckpoint()]
    are_measured(watching, model)
    are_measured([*watching, EarlyStopping("val/other"), Logs()], model)
    are_measured([EarlyStopping("val/other", strict=False)], model)
    with pytest.raises(ValueError, match="no validation has such a score"):
        are_measured([*watching, EarlyStopping("val/other")], model)


def test_labels_that_are_no_funnel_are_the_users_to_mend() -> None:
    with pytest.raises(RuntimeError, match="ESMM: a row") as failed:
        demand(torch.tensor([False]), "ESMM: a row of this batch")
    assert refusals.mendable(failed.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--trainer.accelerator", "gpu", "--trainer.devices", "1"], "gpu"),
        (["--trainer", "configs/trainer/gpu.yaml"], "gpu"),
        (["--trainer.max_steps", "-5"], "max_steps"),
        (["--trainer.val_check_interval", "-1"], "val_check_interval"),
        (["--trainer.precision", "8-fast"], "precision"),
        (["--trainer.num_nodes", "0"], "num_nodes"),
        (["--model.embedding_dim", "-4"], "embedding_dim=-4"),
        (["--model.optimizer", "sgd", "--model.schedule", "plateau", "--model.warmup_steps", "3"], "warmup_steps=3"),
        (["--model", "ESMM", "--model.funnel", "[is_clik, is_like]"], "is_clik"),
        (
            [
                "--trainer.callbacks+=GradientSurgery",
                "--trainer.callbacks.rule=CAGrad",
                "--trainer.callbacks.rule.c=-1",
            ],
            "c=-1",
        ),
        ([*PCD, "--trainer.callbacks.rule.main_task=is_clik"], "main_task='is_clik'; the tasks are"),
        ([*PCD, "--trainer.callbacks.rule.main_task=7"], "main_task=7; the tasks are"),
        (["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.save_top_k=-7"], "save_top_k"),
        (["--trainer.callbacks+=ConflictMonitor", "--trainer.callbacks.every_n_steps=0"], "every_n_steps"),
        (
            [
                "--trainer.logger+=CSVLogger",
                "--trainer.logger.save_dir",
                "x",
                "--trainer.logger.flush_logs_every_n_steps=a",
            ],
            "flush",
        ),
        (["--data.batch_size", "0"], "batch_size"),
        (["--model.lr", "-1"], "{'lr': -1.0}; allowed are finite numbers >= 0"),
        (["--model", "PLE", "--model.levels", "0"], "PLE: levels=0; allowed are whole numbers >= 1"),
        (["--model", "AITM", "--model.bottom_units", "[]"], "bottom_units=[]; allowed is one layer or more"),
        (["--model", "torch.nn.Linear"], "--model: torch.nn.Linear is something else. Known are AITM"),
        (["--trainer.logger+=os.system"], "--trainer.logger: os.system is something else. Known are CSVLogger"),
        (stopping("EarlyStopping", "val/auc_meen"), "Did you mean 'val/auc_mean'? There are val/accuracy_mean"),
        (stopping("ModelCheckpoint", "val_loss"), "monitor='val_loss'; no validation has such a score"),
        (["--trainer.val_check_interval", "0"], "use --trainer.limit_val_batches 0"),
        (["--trainer.check_val_every_n_epoch", "0"], "allowed are whole numbers >= 1"),
        (["--patience", "0"], "--patience: 0; allowed are whole numbers >= 1"),
        (["--checkpoint_every", "0"], "--checkpoint_every: 0; allowed are whole numbers >= 1"),
        (["--ckpt_path", ""], "there is no checkpoint"),
        (["--trainer.callbacks+=ConflictMonitor"], "rule=Sum changes nothing and only measures"),
        ([*weighing("GradientSurgery", "PCGrad"), *weighing("LossBalancing", "UW")], "keep one callback"),
        ([*weighing("GradientSurgery", "UPGrad", "preference=[1, 2]")], "2 numbers in preference for 3 tasks"),
        ([*weighing("LossBalancing", "FixedWeights", "weights=[1]")], "1 numbers in weights for 3 tasks"),
        ([*weighing("LossBalancing", "FAMO"), "--model.accumulate", "2"], "accumulate=2 cuts it up"),
    ],
)
def test_wrong_values_are_refused_before_anything_is_prepared_or_written(run: Run, words: list[str], said: str) -> None:
    words = words if "--model" in words else ["--model", "MMoE", *words]
    printed = run("fit", "--data", "Synthetic", "--data.rows", "500", "--data.prepared", "prepared", *words, code=2)
    assert said in printed
    assert not Path("runs").exists()
    assert not Path("prepared").exists()


def test_prepare_refuses_wrong_options(run: Run) -> None:
    assert "Synthetic: rows=-3" in run("prepare", "--data", "Synthetic", "--data.rows", "-3", code=2)
    assert "Did you mean 'Synthetic'?" in run("prepare", "--data", "Synthetc", code=2)
