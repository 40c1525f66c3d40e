"""Wrong words on the command line get a short answer that helps, and help names what there is."""

from collections.abc import Callable
from pathlib import Path

import pytest
from every_model import MODELS

import mtlzoo

Run = Callable[..., str]
EXPORTED = {name: getattr(mtlzoo, name) for name in mtlzoo.__all__ if name != "__version__"}


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


def test_prepare_refuses_wrong_options(run: Run) -> None:
    assert "Synthetic: rows=-3" in run("prepare", "--data", "Synthetic", "--data.rows", "-3", code=2)
    assert "Did you mean 'Synthetic'?" in run("prepare", "--data", "Synthetc", code=2)
