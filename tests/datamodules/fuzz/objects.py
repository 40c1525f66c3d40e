"""Files with an object of JSON, or of Python, in every line, read slowly and strictly."""

import ast
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fuzz.forms import Form, Rows, plain
from fuzz.values import (
    Allowed,
    InvalidError,
)


class Bad:
    """Stands for NaN and Infinity, which are no JSON."""


def _pairs(wanted: frozenset[str]) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    def hook(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs if name in wanted]
        if len(set(names)) < len(names):
            raise InvalidError("key twice")
        return dict(pairs)

    return hook


@dataclass(frozen=True)
class Objects(Form):
    """An object per line.

    Args:
        keys: What is read, and what it may hold; None where it is missing.
        inner: Keys of objects within that may be there once.
        literals: Whether the objects are written as Python does.
    """

    keys: Mapping[str, Allowed] = field(default_factory=dict)
    inner: frozenset[str] = frozenset()
    literals: bool = False
    alike: Callable[[list[dict[str, Any]]], bool] = lambda rows: True

    @property
    def place(self) -> int:
        """Of the key among the cells."""
        return list(self.keys).index(self.key)

    def rows(self, data: bytes) -> Rows:
        """Values of the keys, as they would be written."""
        try:
            lines = plain(data).decode().split("\n")
        except UnicodeDecodeError as error:
            raise InvalidError(error) from None
        found = [self._object(line.strip()) for line in lines if line.strip()]
        if not self.alike(found):
            raise InvalidError("types change")
        return [tuple(repr(row.get(name)) for name in self.keys) for row in found]

    def _object(self, line: str) -> dict[str, Any]:
        try:
            if self.literals and line.startswith("{'"):
                row = ast.literal_eval(line)
                tree = ast.parse(line, mode="eval").body
                names = (
                    [key.value for key in tree.keys if isinstance(key, ast.Constant)]
                    if isinstance(tree, ast.Dict)
                    else []
                )
                if any(names.count(name) > 1 for name in self.keys):
                    raise InvalidError("key twice")
            else:
                row = json.loads(
                    line, parse_constant=lambda _: Bad(), object_pairs_hook=_pairs(self.inner | frozenset(self.keys))
                )
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError) as error:
            raise InvalidError(error) from None
        if not isinstance(row, dict):
            raise InvalidError("no object")
        for name, allowed in self.keys.items():
            if not allowed(row.get(name)):
                raise InvalidError(f"{name} {row.get(name)!r}")
        return row
