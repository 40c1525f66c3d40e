"""Which embedding tables a network has, and what they are called."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mtlzoo.callbacks.handover import task_names

ROWS = 2**16
"""Rows of a table that are looked at, evenly spread over it; all of a smaller one."""


class TableRows(NamedTuple):
    """Rows of a parameter that are one table.

    Args:
        parameter: Name of the parameter, [rows, width].
        first: First row of the table.
        stop: The row after its last; None: all rows.
        padding: A row that stands for nothing, and is left out.
    """

    parameter: str
    first: int = 0
    stop: int | None = None
    padding: int | None = None


def tables_of(module: nn.Module) -> dict[str, TableRows]:
    """The tables of a network by name.

    A part of it that keeps several tables in one parameter says so by a mapping `embedding_tables` (an attribute or a
    method) from their names to tuples as of `TableRows`, the parameter as the part calls it. Where several parts do,
    the last part of their own name stands before, a number as that of `task_names`. All other `nn.Embedding` and
    `nn.EmbeddingBag` go by the names of the modules, each weight once.
    """
    declared = {name: tables for name, part in module.named_modules() if (tables := _declared(part)) is not None}
    prefixes = _prefixes(list(declared), task_names(module) or [])
    found: dict[str, TableRows] = {}
    for place, tables in declared.items():
        for name, rows in tables.items():
            found[prefixes[place] + name] = rows._replace(parameter=f"{place}.{rows.parameter}".removeprefix("."))
    seen = {id(_weight(module, rows)) for rows in found.values()}
    for name, part in module.named_modules():
        if isinstance(part, nn.Embedding | nn.EmbeddingBag) and id(part.weight) not in seen:
            seen.add(id(part.weight))
            found[name] = TableRows(f"{name}.weight", padding=part.padding_idx)
    return found


def _declared(part: nn.Module) -> dict[str, TableRows] | None:
    said: Any = getattr(part, "embedding_tables", None)
    said = said() if callable(said) else said
    return {name: TableRows(*rows) for name, rows in said.items()} if isinstance(said, Mapping) else None


def _prefixes(places: Sequence[str], tasks: Sequence[str]) -> dict[str, str]:
    lasts = [place.rpartition(".")[2] for place in places]
    short = [tasks[int(last)] if last.isdigit() and int(last) < len(tasks) else last for last in lasts]
    if len(places) < 2:
        return dict.fromkeys(places, "")
    named = short if len(set(short)) == len(short) else places
    return {place: f"{name}." if name else "" for place, name in zip(places, named, strict=True)}


def _weight(module: nn.Module, table: TableRows) -> Tensor:
    place, _, name = table.parameter.rpartition(".")
    weight: Tensor = getattr(module.get_submodule(place), name)
    return weight


def rows_of_table(module: nn.Module, table: TableRows) -> Tensor:
    """Rows of a table, at most `ROWS`, without the padding: [n, width]."""
    weight = _weight(module, table).detach()
    stop = len(weight) if table.stop is None else table.stop
    number = stop - table.first
    taken = min(number, ROWS)
    rows = table.first + torch.arange(taken, device=weight.device) * number // taken
    return weight[rows if table.padding is None else rows[rows != table.padding]]
