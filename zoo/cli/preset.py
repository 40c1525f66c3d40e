"""Presets: options with which most models do well on a data set, found by a search on its validation rows.

They are files of the package, ``configs/preset/<data set>.yaml``, or ``<data set>-<model>.yaml`` for one model alone,
and hold options by their names on the command line. What the user says, there or in a config, comes first.
"""

import re
from importlib.resources import files
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning.pytorch.callbacks import WeightAveraging

from mtlzoo.cli.parser import import_class, listed


def preset(data: str, model: str) -> dict[str, Any]:
    """Options of a preset by name, such as ``data.batch_size``; empty where a data set has none.

    Args:
        data: Class of the data, without its module.
        model: Class of the model.
    """
    folder = files("mtlzoo.configs") / "preset"
    for name in (f"{data}-{model}.yaml", f"{data}.yaml"):
        if (found := folder / name).is_file():
            options: dict[str, Any] = yaml.safe_load(found.read_text(encoding="utf-8"))
            return options
    return {}


def fill(options: Namespace, given: Namespace) -> dict[str, Any]:
    """Sets the options of the preset that nobody gave.

    Args:
        options: Of the command, changed in place; without a model those of the model are left out.
        given: What the user gave, in configs and on the command line: as `options`, without defaults.

    Returns:
        What was set, by name.
    """
    model = options.model.class_path.rpartition(".")[2] if options.model else ""
    done: dict[str, Any] = {}
    for name, value in preset(options.data.class_path.rpartition(".")[2], model).items():
        key = re.sub(r"^(model|data)\.", r"\1.init_args.", name)
        if (
            key in given
            or (key.startswith("model.") and not model)
            or (name == "model.averaging" and averages(options))
        ):
            continue
        options[key] = done[name] = value
    return done


def averages(options: Namespace) -> bool:
    """Whether a callback averages the weights."""
    kinds = [import_class(callback.class_path) for callback in listed(options.trainer.callbacks)]
    return any(isinstance(kind, type) and issubclass(kind, WeightAveraging) for kind in kinds)
