"""What a run is, in the few words that name its folder, its W&B run and its results."""

import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from mtlzoo.cli.parser import import_class, listed


def run_name(model: str, data: str, rule: str | None, seed: int | bool) -> str:
    """``<data>-<model>[-<rule>][-s<seed>]``: name of a run's folder and of its W&B run."""
    return "-".join([data, model, *([rule] if rule else []), *([] if seed is False else [f"s{seed}"])])


_PATHS = ("root", "prepared")
"""Options that say where something lies on a machine, and not what a run is."""
_NO_CHANGES = (*_PATHS, "shuffle_seed")
"""Options by which runs of one model on one data set differ, and are no other model or data."""

_OF_PRESETS = ("table_weight_decay", "averaging")
"""What presets set in most runs, behind what somebody chose: names are cut."""


def describe(options: Namespace) -> dict[str, Any]:
    """What a run is, in a few flat entries: names of the run, model, data set and rule, the seed, what is not default.

    Args:
        options: Parsed options of a command.
    """
    model, data = (options[key].class_path.rpartition(".")[2] for key in ("model", "data"))
    data = table_name(options.data.init_args) or data
    with_rules = [callback for callback in listed(options.trainer.callbacks) if _arguments(callback).get("rule")]
    rules = [_arguments(callback)["rule"] for callback in with_rules]
    marks = [
        [mark for part in (rule, callback) for mark in _marks(changed(part))]
        for rule, callback in zip(rules, with_rules, strict=True)
    ]
    named = "+".join("-".join([_name(rule), *those]) for rule, those in zip(rules, marks, strict=True)) or None
    seed = options.seed_everything
    others = [change for key in ("model", "data") for change in changed(options[key])]
    others.sort(key=lambda change: change[0] in _OF_PRESETS)
    return {
        "run_name": run_name(model, data, named, seed),
        "model_name": model,
        "data_name": data,
        "rule_name": "+".join(map(_name, rules)) or "sum",
        "rule_options": " ".join(mark for those in marks for mark in those),
        "level": "+".join(part["level"] for part in map(_arguments, with_rules) if "level" in part) or None,
        "changed": " ".join(f"{name}={value}" for name, value in others),
        "seed": seed,
    }


def plain_options(options: Namespace) -> dict[str, Any]:
    """Plain options of model and data, defaults too, by names such as ``model.lr``; paths and lists are left out.

    Args:
        options: Parsed options of a command.
    """
    return {
        f"{part}.{name}": value
        for part in ("model", "data")
        for name, value in _arguments(options[part]).items()
        if isinstance(value, bool | int | float | str) and name not in _PATHS
    }


def table_name(arguments: Any) -> str | None:
    """What somebody's own table is called: its one file, or the folder that its files lie in; None for a data set."""
    if "schema_file" not in arguments:
        return None
    train = listed(arguments.train)
    folder = Path(arguments.root).expanduser().resolve()
    plain = len(train) == 1 and not set("*?[") & set(str(train[0]))
    name = Path(str(train[0])).name.partition(".")[0] if plain else folder.name
    name = folder.name if name.lower() in ("", "train", "training") else name
    return re.sub(r"[^\w.+]+", "_", name) or "table"


def changed(part: Any) -> list[tuple[str, Any]]:
    """Plain options of a class on the command line that are not its defaults, without paths, mappings and seeds."""
    if not isinstance(part, Namespace):  # a function, as a rule may be
        return []
    kind = import_class(part.class_path)
    defaults = {
        name: parameter.default
        for base in reversed(kind.__mro__)
        for name, parameter in inspect.signature(vars(base).get("__init__", object.__init__)).parameters.items()
    }
    options = _arguments(part).items()
    plain = [(name, value) for name, value in options if isinstance(value, bool | int | float | str)]
    return [(n, v) for n, v in plain if n in defaults and v != defaults[n] and n not in _NO_CHANGES]


def _arguments(part: Any) -> Any:
    return part.get("init_args") or {}


def _marks(options: Iterable[tuple[str, Any]]) -> list[str]:
    """Options for the name of a folder; a word says by itself what it means: ``row``, ``fixed``."""
    return [re.sub(r"[^\w.=+]+", "_", str(v) if isinstance(v, str) else f"{n}={v}") for n, v in options]


def _name(rule: Any) -> str:
    """Of a class with arguments, or of a function."""
    return str(rule.class_path.rpartition(".")[2] if isinstance(rule, Namespace) else rule.__name__)
