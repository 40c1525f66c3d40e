"""Options in every spelling and order in which people and sweeps write them."""

from typing import Any

import pytest

from mtlzoo.cli.fit import ZooCLI


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


def test_a_value_none_beside_nulls() -> None:
    words = ["--preset", "none", "--trainer.logger", "none", "--patience=none", "--model.clip_norm", "none"]
    config = parsed("--model=MMoE", "--data=Synthetic", *words)
    assert config.preset == "none"
    assert (config.patience, config.model.init_args.clip_norm, config.trainer.logger) == (None, None, None)


@pytest.mark.parametrize("words", [["--keep_rows", "none"], ["--all_metrics=none", "--preset", "none"]])
def test_none_where_neither_it_nor_null_may_stand(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        ZooCLI(["fit", "--model=MMoE", "--data=Synthetic", *words])
    assert f"error: {words[0].removesuffix('=none')}: " in capsys.readouterr().err


def test_another_mistake_beside_none(capsys: pytest.CaptureFixture[str]) -> None:
    """The message is about the mistake."""
    words = ["--preset", "none", "--model.clip_norm", "none", "--model.lr", "fast"]
    with pytest.raises(SystemExit):
        ZooCLI(["fit", "--model=MMoE", "--data=Synthetic", *words])
    assert "--model.lr" in (told := capsys.readouterr().err)
    assert "none" not in told


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
