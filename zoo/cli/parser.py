"""The argument parser: Lightning's, with short errors that name the nearest match."""

import inspect
import re
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from importlib import import_module
from io import StringIO
from typing import Any, NoReturn, get_args, get_type_hints

import lightning as L
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.loggers import Logger

from mtlzoo.cli.signals import REQUESTS
from mtlzoo.cli.typos import hint
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
    with REQUESTS.importing():
        for package in ("mtlzoo", "mtlzoo.datamodules", "mtlzoo.callbacks"):
            module = import_module(package)
            for name in module.__all__:
                getattr(module, name)


class Parser(LightningArgumentParser):
    """Says what is wrong in a few lines, where the base class prints some sixty lines of usage first."""

    def parse_args(self, args: Any = None, *rest: Any, **options: Any) -> Any:
        """Parses words in any order, and None as Python and W&B's sweeps write it."""
        try:
            return self._parse(args, *rest, **options)
        except UnicodeDecodeError as error:
            self.error(f"a config is no text in UTF-8: {error}", error)

    def _parse(self, args: Any, *rest: Any, **options: Any) -> Any:
        if args is None:
            return super().parse_args(args, *rest, **options)
        words = given = in_order(args)
        nulls, tried = with_null(given, "none"), []
        while nulls != given:  # a value of its own to a few options, to all others Python's
            tried.append(words)
            printed = StringIO()
            try:
                with redirect_stderr(printed):
                    return super().parse_args(words, *rest, **options)
            except SystemExit:
                refused = re.search(r"error: --([\w.]+)", printed.getvalue())
                other = with_values(words, nulls if words == given else given, refused[1] if refused else "")
                words = nulls if other != words == given else other
                if words in tried:
                    sys.stderr.write(printed.getvalue())
                    raise
        return super().parse_args(words, *rest, **options)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Prints the message with a hint and exits with 2."""
        if not self.exit_on_error:
            super().error(message, ex)
        program = getattr(getattr(ex, "subcommand_parser", None) or self, "prog", "mtlzoo").replace(" [options]", "")
        sys.stderr.write(f"{program}: error: {explain(message)}\n")
        self.exit(2)
        raise AssertionError  # exit() does not return


def in_order(words: Sequence[str]) -> list[str]:
    """The words with the class of model and data before its options, and with null for Python's None.

    A sweep of W&B gives options by the alphabet: ``--model.lr=0.01`` before ``--model=MMoE``.
    """
    groups: list[list[str]] = []
    for word in words:
        if groups and not re.match(r"--?[A-Za-z]", word):
            groups[-1].append(word)
        else:
            groups.append([word])
    names = [group[0].partition("=")[0] for group in groups]
    for key in ("--model", "--data"):
        options = [i for i, name in enumerate(names) if name.startswith(f"{key}.") and name != f"{key}.help"]
        if key in names and options and options[0] < names.index(key):
            groups.insert(options[0], groups.pop(names.index(key)))
            names.insert(options[0], names.pop(names.index(key)))
    return with_null([word for group in groups for word in group], "None")


def with_null(words: Sequence[str], spelling: str) -> list[str]:
    """The words with null for values that are spelt so, ``--option=None`` or ``None`` alone."""
    return [re.sub(rf"^(--[^=]*=)?{spelling}$", r"\1null", word) for word in words]


def with_values(words: Sequence[str], others: Sequence[str], option: str) -> list[str]:
    """The words with the value that an option has in others, where it is named by its end at least."""
    end = option.rpartition(".")[2]
    names = [word if word.startswith("--") else before for before, word in zip(["", *words], words, strict=False)]
    meant = [end != "" and re.search(rf"[-.]{end}[+]?(=|$)", name) for name in names]
    return [other if its else word for word, other, its in zip(words, others, meant, strict=True)]


def explain(message: str) -> str:
    """The parser's message, or a shorter one with the nearest match where a class or an option is unknown."""
    told = _told(message)
    option = ".".join(re.findall(r'Parser key "([\w.]+)"', told))
    if option in BASES:  # of a logger, True is no other kind
        told = re.sub(r"- Expected a <class 'bool'>.*", "", told)
    cls = (re.findall(r"class_path '([\w.]+)'", told) or [None])[-1]
    if (word := re.search(r"Expected a dot import path string: (\S+)", told)) and (known := _names(option, cls)):
        return hint(f"--{option}: no class or file {word[1]!r}", word[1], known) + _taker_of(word[1])
    if cls and (word := re.search(r"Option '(\S+)' is not accepted", told)):
        kind = import_class(cls)
        return hint(f"--{option}.{word[1]}: {kind.__name__} has no option {word[1]!r}", word[1], _options(kind))
    if word := re.search(r"arguments are required: ([\w.]+)", told):
        option = f"{option}.{word[1]}" if cls else word[1].partition(".")[2] or word[1]  # after the command's name
        names = ", ".join(sorted(_names(option, cls)))
        return f"--{option} is required" + (f": {names}, or the path of a class or a config." if names else ".")
    lines = [line.strip().removeprefix("- ") for line in told.splitlines() if not _FRAME.match(line)]
    # The kinds of a union tell the same error, some with more words.
    errors = [e for e in dict.fromkeys(lines) if not any(e != other and e.startswith(other) for other in lines)]
    if option and not errors and (word := re.search(r"Option '(\S+)' is not accepted", message)):
        return f"--{option}.{word[1]}: of which class? Say that before it: --{option}+=NAME."
    if (
        option
        and not errors
        and (word := re.search(r"Given value: (\S+)$", message))
        and (known := _names(option, cls))
    ):
        return hint(f"--{option}: {word[1]} is something else", word[1], known)
    return (f"--{option}: " if option and errors else "") + ("; ".join(errors) or message)


_FRAME = re.compile(
    r"\W*(Parser key|Problem with|Does not validate|Subtypes:|Errors:|Given value|Expected a path but|$)"
)
"""Lines that lead to an error, and are none."""


def _told(message: str) -> str:
    """The message without attempts that nobody meant: the base class of callbacks, null, the other kinds of rule."""
    for attempt in (
        r"- Problem with given class_path 'lightning\.\w+':\n +Option '\S+' is not accepted",
        r"- Not a valid subclass of .*(?:\n +.*?(?:expect one of:|- a (?:class path|dict) .*))*",
        r"- Import path .*does not correspond to a subclass of .*",
        r"- Type \S*Callable\[.*",
        r"- Expected a <class 'NoneType'>.*",
    ):
        message = re.sub(attempt, "", message)
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


def listed(value: Any) -> list[Any]:
    """An option of the Trainer that may be a list, one thing, or None or False for nothing."""
    if value is None or value is False:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _names(option: str, cls: str | None = None) -> set[str]:
    """Short names that an option takes; one below those of `BASES` is an argument of the class at the path `cls`."""
    if option in BASES:
        classes = _subclasses(BASES[option])
    else:
        hints = get_type_hints(import_class(cls).__init__) if cls else {}
        hint = hints.get(option.rpartition(".")[2])
        bases = [base for base in get_args(hint) or [hint] if inspect.isclass(base)]
        public = import_module("mtlzoo.callbacks").__all__
        classes = {kind for base in bases for kind in _subclasses(base) if kind.__name__ in public}
    classes = {kind for kind in classes if not kind.__module__.startswith("mtlzoo.cli.")}  # ours, not the user's
    return {kind.__name__ for kind in classes if not inspect.isabstract(kind) and not kind.__name__.startswith("_")}


def _taker_of(name: str) -> str:
    """Says which callback takes the rule of a name."""
    callbacks = [cls for cls in _subclasses(L.Callback) if cls.__module__.startswith("mtlzoo.callbacks")]
    takers = [cls.__name__ for cls in callbacks if name in _names("rule", f"{cls.__module__}.{cls.__name__}")]
    return f" {name} is a rule of {takers[0]}." if takers else ""


def _subclasses(base: type) -> set[type]:
    direct: set[type] = set(base.__subclasses__())
    return direct.union(*(_subclasses(cls) for cls in direct))


def _options(cls: type) -> set[str]:
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    options: set[str] = set()
    for base in cls.__mro__:
        if "__init__" in vars(base):
            parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
            options |= {p.name for p in parameters if p.kind in named}
            # Without **options nothing goes on to the next class.
            if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
                break
    return options - {"self", "schema"}
