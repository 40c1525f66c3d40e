"""Answers GraphQL requests from dictionaries: what a query selects of them, and null for what they do not hold.

The W&B SDK names no operation in its requests (an empty ``operationName``), so what is asked is in the text alone.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TOKEN = re.compile(r'\.\.\.|"(?:[^"\\]|\\.)*"|[$@]?[A-Za-z_]\w*|-?\d+(?:\.\d+)?(?:e\d+)?|[{}()\[\]:!=]')


@dataclass
class Field:
    """One selected field; that of a fragment has the name ``...`` and the type that it is on, or its own name."""

    name: str
    alias: str
    arguments: dict[str, Any] = field(default_factory=dict)
    inner: "list[Field]" = field(default_factory=list)


class Document:
    """The operation and the fragments of a request."""

    def __init__(self, text: str, variables: Mapping[str, Any]) -> None:
        self._tokens = TOKEN.findall(re.sub(r"#.*", "", text))
        self._place = 0
        self._variables = dict(variables)
        self.fields: list[Field] = []
        self.fragments: dict[str, list[Field]] = {}
        while self._place < len(self._tokens):
            self._definition()

    def answer(self, root: Mapping[str, Any]) -> dict[str, Any]:
        """What the operation selects of `root`; callables in it are called with the arguments of their field.

        A first field that `root` does not hold is an error, as from a server whose schema has no such field.
        """
        if unknown := [one.name for one in self.fields if one.name not in root]:
            return {"data": None, "errors": [{"message": f"Cannot query field {unknown}"}]}
        return {"data": self._selected(self.fields, root)}

    def _selected(self, fields: list[Field], value: Mapping[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = {}
        for one in fields:
            if one.name == "...":
                if one.alias in ("", value.get("__typename", one.alias), *self.fragments):
                    answer |= self._selected(self.fragments.get(one.alias, one.inner), value)
                continue
            found = value.get(one.name)
            answer[one.alias] = self._inside(one.inner, found(**one.arguments) if callable(found) else found)
        return answer

    def _inside(self, fields: list[Field], value: Any) -> Any:
        if isinstance(value, list):
            return [self._inside(fields, item) for item in value]
        return self._selected(fields, value) if fields and value is not None else value

    # ---- parsing

    def _next(self, wanted: str | None = None) -> str:
        token: str = self._tokens[self._place]
        self._place += 1
        assert wanted in (None, token), f"{wanted} expected at {self._tokens[self._place - 4 : self._place + 4]}"
        return token

    def _sees(self, token: str) -> bool:
        return str(self._tokens[self._place]) == token

    def _definition(self) -> None:
        if self._sees("{"):
            self.fields = self._selection()
        elif self._next() == "fragment":
            name, _, _ = self._next(), self._next("on"), self._next()
            self.fragments[name] = self._selection()
        else:  # query or mutation; its variables have defaults, which stand for those that were not sent
            while not self._sees("{"):
                if self._next() == "=":
                    name = next(t for t in reversed(self._tokens[: self._place]) if t.startswith("$"))
                    self._variables.setdefault(name[1:], self._value())
            self.fields = self._selection()

    def _selection(self) -> list[Field]:
        self._next("{")
        fields = []
        while not self._sees("}"):
            fields.append(self._fragment() if self._sees("...") else self._field())
        self._next("}")
        return fields

    def _fragment(self) -> Field:
        self._next("...")
        if not self._sees("on") and not self._sees("{"):
            return Field("...", self._next())
        kind = (self._next("on"), self._next())[1] if self._sees("on") else ""
        return Field("...", kind, inner=self._selection())

    def _field(self) -> Field:
        name = alias = self._next()
        if self._sees(":"):
            self._next()
            name = self._next()
        arguments = self._pairs("(", ")") if self._sees("(") else {}
        while self._tokens[self._place].startswith("@"):  # @include(if: $x): all is answered
            self._next()
            self._pairs("(", ")")
        return Field(name, alias, arguments, self._selection() if self._sees("{") else [])

    def _pairs(self, opens: str, closes: str) -> dict[str, Any]:
        self._next(opens)
        pairs = {}
        while not self._sees(closes):
            name = self._next()
            self._next(":")
            pairs[name] = self._value()
        self._next(closes)
        return pairs

    def _value(self) -> Any:
        if self._sees("{"):
            return self._pairs("{", "}")
        token = self._next()
        if token == "[":
            items = []
            while not self._sees("]"):
                items.append(self._value())
            self._next("]")
            return items
        if token.startswith("$"):
            return self._variables.get(token[1:])
        return json.loads(token) if re.match(r'"|-?\d|true$|false$|null$', token) else token  # else of an enum
