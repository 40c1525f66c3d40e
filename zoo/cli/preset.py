"""Presets: options with which most models do well on a data set, found by a search on its validation rows.

They are files of the package, ``configs/preset/<data set>.yaml``, or ``<data set>-<model>.yaml`` for one model alone,
and hold options by their names on the command line; ``only`` says on which variants of data and model they were found,
and a list has them for several. Data without one get what a rule makes of their number of rows. What the user says,
there or in a config, comes first.
"""

import math
import re
from importlib.resources import files
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning.pytorch.callbacks import WeightAveraging

from mtlzoo.cli.parser import import_class, listed
from mtlzoo.cli.trainer import TRAINER_DEFAULTS

STRONGEST, AS_STRONG = 8e-3, 1000
"""The decay of tables by the rule, and the number of rows times the decay where there are many."""
SEEN, LONGEST = 1_000_000, 100
"""Rows of train, one epoch's after the other, that a training may see where there are few; epochs at most."""


def preset(options: Namespace) -> dict[str, Any]:
    """Options of a preset by name, such as ``data.batch_size``; empty where there is none for data and model.

    Args:
        options: Of the command, maybe without a model; a preset holds for data and models that derive from its own.
    """
    folder = files("mtlzoo.configs") / "preset"
    data, models = _ours(options.data), _ours(options.model) if options.model else []
    names = [f"{kind}-{model}" for kind in data for model in models] + data
    for name in (f"{name}.yaml" for name in names):
        if (found := folder / name).is_file():
            for values in listed(yaml.safe_load(found.read_text(encoding="utf-8"))):
                only: dict[str, Any] = values.pop("only", {})
                if all(_plain(options.get(_key(option))) in allowed for option, allowed in only.items()):
                    return dict(values)
    return {}


def by_rows(rows: int, options: Namespace) -> dict[str, Any]:
    """Options for data without a preset; docs/data.md, "Presets", says what they were found on.

    An id with few rows is fitted to them; the decay that keeps its row small is weaker the more rows there are, as a
    prior is. Averages read all tables in every step, which `sparse` is there to avoid. Few rows may be seen more often
    where validation ends the training; a rate that falls to the last step falls as fast as it did.

    Args:
        rows: Of train; without any the training is refused later.
        options: Of the command.
    """
    found: dict[str, Any] = {}
    model = options.model.init_args
    if not model.get("sparse"):
        decay = round(min(STRONGEST, AS_STRONG / max(rows, 1)), 6)
        found = {"model.table_weight_decay": decay, "model.averaging": 0.998}
    epochs = min(LONGEST, math.ceil(SEEN / max(rows, 1)))
    ends = options.patience is not None and options.trainer.limit_val_batches != 0
    if epochs > TRAINER_DEFAULTS["max_epochs"] and ends and model.get("schedule") not in ("linear", "cosine"):
        found["trainer.max_epochs"] = epochs
    return found


def fill(options: Namespace, given: Namespace, found: dict[str, Any]) -> dict[str, Any]:
    """Sets the options that nobody gave.

    Args:
        options: Of the command, changed in place.
        given: What the user gave, in configs and on the command line: as `options`, without defaults.
        found: Options of a preset, by name.

    Returns:
        What was set, by name.
    """
    done: dict[str, Any] = {}
    for name, value in found.items():
        key = _key(name)
        if (
            key in given
            or key not in options  # no model yet, or somebody's own without that option
            or (name == "model.averaging" and _averages(options))
        ):
            continue
        options[key] = done[name] = value
    return done


def _ours(part: Namespace) -> list[str]:
    """Names of the classes of mtlzoo that a class is or derives from, the nearest first."""
    kinds = getattr(import_class(part.class_path), "__mro__", ())  # none of a function that makes one
    return [kind.__name__ for kind in kinds if kind.__module__.startswith("mtlzoo.")]


def _key(name: str) -> str:
    """Where the parser keeps an option."""
    return re.sub(r"^(model|data)\.", r"\1.init_args.", name)


def _plain(value: Any) -> Any:
    """A value as YAML has it; defaults may be tuples."""
    return list(value) if isinstance(value, tuple) else value


def _averages(options: Namespace) -> bool:
    """Whether a callback averages the weights."""
    kinds = [import_class(callback.class_path) for callback in listed(options.trainer.callbacks)]
    return any(isinstance(kind, type) and issubclass(kind, WeightAveraging) for kind in kinds)
