"""Options of the command line as entries of a file ask for them."""

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from mtlzoo.compare.lines import Lined


class Option(NamedTuple):
    """One option of ``mtlzoo fit``.

    Args:
        name: Without dashes, ``model.lr``; with a plus at its end it adds to a list.
        value: As the command line takes it.
        line: Of the file that asks for it; 0 where none does.
    """

    name: str
    value: str
    line: int = 0

    @property
    def word(self) -> str:
        """``--model.lr=0.001``."""
        return f"--{self.name}={self.value}"


FULL = ("model", "data", "trainer", "preset", "patience")
"""First words of full names; other names are those of the part that an entry is about."""


def options_of(entries: Lined, prefix: str) -> tuple[Option, ...]:
    """Options of a mapping.

    Args:
        entries: Names, dotted or nested, and values.
        prefix: Of names that do not begin with one of `FULL`: ``model.``.
    """
    found = []
    for name, entry in entries.flat():
        full = name if name.partition(".")[0] in FULL else f"{prefix}{name}"
        found.append(Option(full, text_of(entry.plain), entry.line))
    return tuple(found)


def text_of(value: Any) -> str:
    """A value of YAML as a word of the command line."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def words_of(options: Iterable[Option]) -> list[str]:
    """The words, in order."""
    return [option.word for option in options]


def culprit(message: str, options: Iterable[Option]) -> int:
    """Line of the option that a refusal is about: the last that it names, else the last whose value it shows; or 0."""
    lines = {"name": 0, "value": 0}
    for option in options:
        if f"--{option.name.rstrip('+')}" in message:
            lines["name"] = option.line or lines["name"]
        shown = option.value.rpartition(".")[2] if "." in option.value and " " not in option.value else option.value
        if len(shown) > 1 and shown in message:
            lines["value"] = option.line or lines["value"]
    return lines["name"] or lines["value"]
