"""Presets: options with which most models do well on a data set, found by a search on its validation rows.

They are files of the package, ``configs/preset/<data set>.yaml``, or ``<data set>-<model>.yaml`` for one model alone,
and hold options by their names on the command line; ``only`` says which variants of the data set they were found on.
Data without one get what a rule makes of their number of rows. What the user says, there or in a config, comes first.
"""

import re
from importlib.resources import files
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning.pytorch.callbacks import WeightAveraging

from mtlzoo.cli.parser import import_class, listed

STRONGEST, AS_STRONG = 8e-3, 1000
"""The decay of tables by the rule, and the number of rows times the decay where there are many."""


def preset(data: Namespace, model: str) -> dict[str, Any]:
    """Options of a preset by name, such as ``data.batch_size``; empty where there is none for these data.

    Args:
        data: Class and options of the data; a preset holds for classes that derive from its own.
        model: Class of the model, without its module.
    """
    folder = files("mtlzoo.configs") / "preset"
    kinds = [kind.__name__ for kind in import_class(data.class_path).__mro__ if kind.__module__.startswith("mtlzoo.")]
    for name in (*(f"{kind}-{model}.yaml" for kind in kinds), *(f"{kind}.yaml" for kind in kinds)):
        if (found := folder / name).is_file():
            options: dict[str, Any] = yaml.safe_load(found.read_text(encoding="utf-8"))
            only: dict[str, Any] = options.pop("only", {})
            if all(data.init_args[option] in allowed for option, allowed in only.items()):
                return options
    return {}


def by_rows(rows: int, model: Namespace) -> dict[str, Any]:
    """Options for data without a preset; docs/data.md, "Presets", says what they were found on.

    An id with few rows is fitted to them; the decay that keeps its row small is weaker the more rows there are, as a
    prior is. Averages read all tables in every step, which `sparse` is there to avoid.

    Args:
        rows: Of train.
        model: Class and options of the model.
    """
    if model.init_args.get("sparse"):
        return {}
    return {"model.table_weight_decay": round(min(STRONGEST, AS_STRONG / rows), 6), "model.averaging": 0.998}


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
        key = re.sub(r"^(model|data)\.", r"\1.init_args.", name)
        if (
            key in given
            or key not in options  # no model yet, or somebody's own without that option
            or (name == "model.averaging" and _averages(options))
        ):
            continue
        options[key] = done[name] = value
    return done


def _averages(options: Namespace) -> bool:
    """Whether a callback averages the weights."""
    kinds = [import_class(callback.class_path) for callback in listed(options.trainer.callbacks)]
    return any(isinstance(kind, type) and issubclass(kind, WeightAveraging) for kind in kinds)
