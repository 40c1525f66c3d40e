"""Which errors are the user's to mend, and are told in a line; all others show where they arose."""

import dis
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from types import FrameType
from typing import Any

import lightning as L
import torch
from jsonargparse import Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException

from mtlzoo.callbacks import ConflictMonitor, GradientSurgery, LossBalancing
from mtlzoo.cli.parser import import_class
from mtlzoo.datamodules.errors import DataError, DatasetNotFoundError
from mtlzoo.datamodules.plan import Plan

RAISERS = ("mtlzoo", "lightning", "jsonargparse")
"""Packages whose ``raise`` says something to the user."""
RAISED = (ValueError, TypeError, RuntimeError, ArithmeticError, ImportError, OSError, MisconfigurationException)
"""What constructors raise at a value that they can't take."""


def rehearse(parser: Any, options: Namespace) -> None:
    """Makes everything once for nothing, before data are prepared or a file is written: what it refuses is known early.

    The model gets the columns and tasks of the data with tables of two rows.

    Args:
        parser: Of the command.
        options: Parsed by it.

    Raises:
        Exception: Whatever the constructors raise.
    """
    others = options.clone()
    others.data = others.model = None
    with _quiet():
        trainer = L.Trainer(**parser.instantiate_classes(others).trainer)
    given = {part: options[part].get("init_args") for part in ("data", "model")}
    arguments = {part: each.as_dict() if each else {} for part, each in given.items()}
    if any(isinstance(value, dict) and "class_path" in value for each in arguments.values() for value in each.values()):
        return  # objects of somebody's own classes are made once
    data = import_class(options.data.class_path)(**arguments["data"])
    schema = Plan(data.recipe).provisional()
    with torch.random.fork_rng(devices=[]):
        model = import_class(options.model.class_path)(**{**arguments["model"], "schema": schema})
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]  # set outside of __init__
    weighing = [callback for callback in callbacks if isinstance(callback, GradientSurgery | LossBalancing)]
    if len(weighing) > 1:
        names = ", ".join(type(callback).__name__ for callback in weighing)
        raise ValueError(f"{names}: keep one callback that weighs tasks or their gradients.")
    if any(isinstance(callback, ConflictMonitor) for callback in callbacks) and not weighing:
        raise ValueError(
            "ConflictMonitor watches GradientSurgery, and there is none. Add one before it: "
            "--trainer.callbacks+=GradientSurgery --trainer.callbacks.rule=Sum changes nothing and only measures."
        )
    for callback in callbacks:
        rule = getattr(callback, "rule", None)
        if rule is not None:
            _fits(rule, getattr(callback, "tasks", None) or model.task_names, model.accumulate)


def _fits(rule: Any, tasks: list[str], accumulate: int) -> None:
    """Refuses a rule that the first step would refuse."""
    name = type(rule).__name__
    main = getattr(rule, "main_task", 0)
    if main not in tasks and main not in range(len(tasks)):
        near = get_close_matches(str(main), tasks, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{name}: main_task={main!r}; the tasks are {tasks}.{hint}")
    for option in ("weights", "preference", "reference", "min_losses"):
        numbers = getattr(rule, option, None)
        if isinstance(numbers, list | tuple) and len(numbers) != len(tasks):
            raise ValueError(f"{name}: {len(numbers)} numbers in {option} for {len(tasks)} tasks; give one each.")
    if getattr(rule, "needs_losses_after_step", False) and accumulate > 1:
        raise ValueError(f"{name}: it looks at a batch before and after a step; accumulate={accumulate} cuts it up.")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Lightning from saying twice which devices there are."""
    messages = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    before, messages.disabled = messages.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        messages.disabled = before


def mendable(error: BaseException) -> bool:
    """Whether an error says what the user gave and can change: of data, of the system, or raised on purpose.

    One that Python itself or a library raised in the middle of our code is a bug, and worth its traceback.
    """
    if isinstance(error, DataError | DatasetNotFoundError | OSError):
        return True
    frame, instruction = _frames(error)[-1]
    package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    on_purpose = frame.f_code.co_code[instruction] == dis.opmap["RAISE_VARARGS"]
    return isinstance(error, RAISED) and package in RAISERS and on_purpose


def prepares(error: BaseException) -> bool:
    """Whether an error arose while data were prepared, where more is at work than options."""
    return any(frame.f_code.co_name in ("prepare_data", "_prepare", "new_rows") for frame, _ in _frames(error))


def told(error: BaseException) -> str:
    """What an error says, with the file that one of the system is about."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
    if isinstance(error, KeyError) or not str(error):
        return repr(error)
    return str(error)


def _frames(error: BaseException) -> list[tuple[FrameType, int]]:
    """From the outermost to where it arose, with the place of the instruction."""
    found, traceback = [], error.__traceback__
    while traceback is not None:
        found.append((traceback.tb_frame, traceback.tb_lasti))
        traceback = traceback.tb_next
    return found
