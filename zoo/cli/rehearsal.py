"""What a command refuses before anything is prepared or written: all that would fail later, when that has cost time."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch
from jsonargparse import Namespace
from lightning_utilities.core import rank_zero as rank_zero_module

from mtlzoo.callbacks import ConflictMonitor, GradientSurgery, LossBalancing
from mtlzoo.callbacks.float64 import check_float64
from mtlzoo.cli.parser import import_class
from mtlzoo.datamodules.prepare.plan import Plan
from mtlzoo.module import MultiTaskModule
from mtlzoo.options import did_you_mean

OURS = ("mtlzoo", "lightning")
"""Packages of callbacks and models that log what is known here."""


def check_values(options: Namespace) -> None:
    """Refuses values of ours and of the Trainer's that it takes, and that then do nothing or something else.

    Args:
        options: Of the command.

    Raises:
        ValueError: With what is allowed, or the option that does it.
    """
    trainer = options.trainer
    for name, default, ours in (
        ("gradient_clip_val", None, "--model.clip_norm"),
        ("accumulate_grad_batches", 1, "--model.accumulate"),
    ):
        if trainer[name] != default:
            raise ValueError(f"--trainer.{name}: the models step their optimiser themselves; use {ours}.")
    for name, value in (
        ("patience", options.patience),
        ("checkpoint_every", options.checkpoint_every),
        ("trainer.check_val_every_n_epoch", trainer.check_val_every_n_epoch),
    ):
        if value is not None and value < 1:
            raise ValueError(f"--{name}: {value}; allowed are whole numbers >= 1, and null.")
    if options.keep_rows < 0:
        raise ValueError(f"--keep_rows: {options.keep_rows}; allowed are whole numbers >= 0.")
    if trainer.val_check_interval == 0:
        raise ValueError(
            "--trainer.val_check_interval: 0; to train without validation use --trainer.limit_val_batches 0."
        )


def rehearse(parser: Any, options: Namespace) -> None:
    """Makes everything once for nothing, so that what it refuses is known early.

    The model gets the columns and tasks of the data with tables of two rows.

    Args:
        parser: Of the command.
        options: Parsed by it.

    Raises:
        Exception: Whatever the constructors raise.
        ValueError: A device without float64, or callbacks that do not go together, or ask for tasks or scores that
            there are not.
    """
    others = options.clone()
    others.data = others.model = None
    with _quiet():
        trainer = L.Trainer(**parser.instantiate_classes(others).trainer)
    check_float64("mtlzoo", trainer)
    given = {part: options[part].get("init_args") for part in ("data", "model")}
    arguments = {part: each.as_dict() if each else {} for part, each in given.items()}
    if any(isinstance(value, dict) and "class_path" in value for each in arguments.values() for value in each.values()):
        return  # objects of somebody's own classes are made once
    data = import_class(options.data.class_path)(**arguments["data"])
    schema = Plan(data.recipe).provisional()
    with torch.random.fork_rng(devices=[]):
        model = import_class(options.model.class_path)(**{**arguments["model"], "schema": schema})
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]  # set outside of __init__
    _go_together(callbacks)
    are_measured(callbacks, model)
    for callback in callbacks:
        rule = getattr(callback, "rule", None)
        if rule is not None:
            _fits(rule, getattr(callback, "tasks", None) or model.task_names, model.accumulate)


def _go_together(callbacks: Sequence[Any]) -> None:
    """Refuses two callbacks that weigh tasks, and a watcher of none."""
    weighing = [callback for callback in callbacks if isinstance(callback, GradientSurgery | LossBalancing)]
    if len(weighing) > 1:
        names = ", ".join(type(callback).__name__ for callback in weighing)
        raise ValueError(f"{names}: keep one callback that weighs tasks or their gradients.")
    if any(isinstance(callback, ConflictMonitor) for callback in callbacks) and not weighing:
        raise ValueError(
            "ConflictMonitor watches GradientSurgery, and there is none. Add one before it: "
            "--trainer.callbacks+=GradientSurgery --trainer.callbacks.rule=Sum changes nothing and only measures."
        )


def are_measured(callbacks: Sequence[Any], model: MultiTaskModule) -> None:
    """Refuses a callback that waits for a score which no validation will have.

    Args:
        callbacks: Of the Trainer; where one is not mtlzoo's or Lightning's, it may log that score.
        model: The model; where its class is somebody's own, so may it.

    Raises:
        ValueError: With the scores that there are.
    """
    if any(type(part).__module__.partition(".")[0] not in OURS for part in (model, *callbacks)):
        return
    known = [*sorted(model.measured("val")), "epoch", "step"]
    for callback in callbacks:
        wanted = getattr(callback, "monitor", None)
        if not isinstance(wanted, str) or wanted in known or not getattr(callback, "strict", True):
            continue
        if wanted.startswith("val/") or "/" not in wanted:
            raise ValueError(
                f"{type(callback).__name__}: monitor={wanted!r}; no validation has such a score."
                f"{did_you_mean(wanted, known)} There are {', '.join(known)}."
            )


def _fits(rule: Any, tasks: list[str], accumulate: int) -> None:
    """Refuses a rule that the first step would refuse."""
    name = type(rule).__name__
    main = getattr(rule, "main_task", 0)
    if main not in tasks and main not in range(len(tasks)):
        raise ValueError(f"{name}: main_task={main!r}; the tasks are {tasks}.{did_you_mean(main, tasks)}")
    for option in ("weights", "preference", "reference", "min_losses"):
        numbers = getattr(rule, option, None)
        if isinstance(numbers, list | tuple) and len(numbers) != len(tasks):
            raise ValueError(f"{name}: {len(numbers)} numbers in {option} for {len(tasks)} tasks; give one each.")
    if getattr(rule, "needs_losses_after_step", False) and accumulate > 1:
        raise ValueError(f"{name}: it looks at a batch before and after a step; accumulate={accumulate} cuts it up.")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Lightning from saying twice which devices there are."""
    messages = rank_zero_module.log
    before, messages.disabled = messages.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        messages.disabled = before
