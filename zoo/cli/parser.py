"""The argument parser: Lightning's, with short errors that name the nearest match."""

import difflib
import inspect
import re
import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Any, NoReturn

import lightning as L
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.loggers import Logger

from mtlzoo.datamodules.base import MultiTaskDataModule
from mtlzoo.module import MultiTaskModule

BASES: dict[str, type] = {
    "model": MultiTaskModule,
    "data": MultiTaskDataModule,
    "trainer.callbacks": L.Callback,
    "trainer.logger": Logger,
}
"""Options that take a class, and the class it must derive from."""


def import_class(path: str) -> Any:
    """The class of a dotted path."""
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def import_public_classes() -> None:
    """Imports all models, data sets and callbacks: that alone makes their short names work on the command line."""
    for package in ("mtlzoo", "mtlzoo.datamodules", "mtlzoo.callbacks"):
        module = import_module(package)
        for name in module.__all__:
            getattr(module, name)


class Parser(LightningArgumentParser):
    """Says what is wrong in a few lines, where the base class prints some sixty lines of usage first."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Prints the message with a hint and exits with 2."""
        if not self.exit_on_error:
            super().error(message, ex)
        program = getattr(getattr(ex, "subcommand_parser", None) or self, "prog", "mtlzoo").replace(" [options]", "")
        sys.stderr.write(f"{program}: error: {explain(message)}\n")
        self.exit(2)
        raise AssertionError  # exit() does not return


def explain(message: str) -> str:
    """The parser's message, or a shorter one with the nearest match where a class or an option is unknown."""
    key = re.search(r'Parser key "([\w.]+)"', message)
    unknown_class = re.search(r"Expected a dot import path string: (\S+)", message)
    if key and unknown_class and key[1] in BASES:
        return _hint(f"--{key[1]}: no class or file {unknown_class[1]!r}", unknown_class[1], _names(key[1]))
    unknown_option = re.search(r"class_path '([\w.]+)':\s+Option '(\S+)' is not accepted", message)
    if key and unknown_option:
        cls = import_class(unknown_option[1])
        text = f"--{key[1]}.{unknown_option[2]}: {cls.__name__} has no option {unknown_option[2]!r}"
        return _hint(text, unknown_option[2], _options(cls))
    if missing := re.search(r"arguments are required: \w+\.(\w+)", message):
        return (
            f"--{missing[1]} is required: {', '.join(sorted(_names(missing[1])))}, or the path of a class or a config."
        )
    if "Subtypes:" in message and (errors := re.findall(r"^ *- (.+(?:\n +[^- ].*)*)", message, re.MULTILINE)):
        # An optional value failed as a class and as null; only the first tells anything.
        told = [re.sub(r"\s+", " ", error.partition("Given value")[0]) for error in errors if "NoneType" not in error]
        return (f"--{key[1]}: " if key else "") + "; ".join(told)
    return message


def plain(value: Any) -> Any:
    """`value` of lists, dictionaries, strings and numbers alone, comparable with what a checkpoint or YAML holds."""
    if isinstance(value, Namespace):
        value = value.as_dict()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def _hint(text: str, word: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(word, names, 1, cutoff=0.5)
    return text + (f". Did you mean {near[0]!r}?" if near else ".") + f" Known are {', '.join(names)}."


def _names(option: str) -> set[str]:
    classes = (cls for cls in _subclasses(BASES[option]) if not inspect.isabstract(cls))
    return {cls.__name__ for cls in classes if not cls.__name__.startswith("_")}


def _subclasses(base: type) -> set[type]:
    direct: set[type] = set(base.__subclasses__())
    return direct.union(*(_subclasses(cls) for cls in direct))


def _options(cls: type) -> set[str]:
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = [p for base in cls.__mro__ if "__init__" in vars(base) for p in _parameters(base)]
    return {p.name for p in parameters if p.kind in named and p.name not in ("self", "schema")}


def _parameters(cls: Any) -> Iterable[inspect.Parameter]:
    # nn.Module and LightningModule end the options: nothing of theirs can be set from the command line.
    return inspect.signature(cls.__init__).parameters.values() if cls.__module__.partition(".")[0] != "torch" else ()
