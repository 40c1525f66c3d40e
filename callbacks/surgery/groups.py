"""What one Gramian is over: all that tasks share, each tensor, or each row of each embedding table.

Rows of a table belong to one user, item or value each.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from torch import Tensor, nn

from mtlzoo.callbacks.surgery.reals import width

Level: TypeAlias = Literal["model", "parameter", "row"]
Others: TypeAlias = Literal["rule", "sum"]


@dataclass(frozen=True)
class Groups:
    """What a Gramian is taken over: numbers that stay the same through the training.

    Args:
        level: ``model``: all shared parameters; ``parameter``: each tensor; ``row``: each row of each table, and each
            other tensor.
        first: Number of each parameter's (first) group.
        total: Number of groups.
        tables: Parameters whose rows are groups.
        others: What shared parameters that are no tables get at level ``row``: the rule's weights or the plain sum.
    """

    level: Level
    first: Mapping[Tensor, int]
    total: int
    tables: frozenset[Tensor]
    others: Others = "rule"

    @staticmethod
    def of(level: Level, parameters: Iterable[Tensor], tables: Iterable[Tensor], others: Others = "rule") -> "Groups":
        """Numbers the groups of a module's parameters, in their order."""
        by_row = frozenset(tables) if level == "row" else frozenset()
        first, total = {}, 0
        for parameter in parameters:
            first[parameter] = total
            total += 0 if level == "model" else len(parameter) if parameter in by_row else 1
        return Groups(level, first, max(total, 1), by_row, others)

    def extended(self, parameters: Iterable[Tensor], tables: Iterable[Tensor]) -> "Groups":
        """The same, and behind them the groups of parameters that were not there before."""
        new = Groups.of(self.level, [p for p in parameters if p not in self.first], tables, self.others)
        start = 0 if self.level == "model" else self.total
        first = {**self.first, **{parameter: start + number for parameter, number in new.first.items()}}
        total = 1 if self.level == "model" else start + (new.total if new.first else 0)
        return Groups(self.level, first, total, self.tables | new.tables, self.others)

    def segment(self, parameter: Tensor) -> Any:
        """The same for neighbours that are worked on together: all at level ``model``; tables of one width."""
        if self.level == "model":
            return None
        return width(parameter) if parameter in self.tables else id(parameter)

    def ruled(self, parameter: Tensor) -> bool:
        """Whether the rule decides about a parameter that tasks share."""
        return self.others == "rule" or parameter in self.tables


def find_tables(module: nn.Module, names: Sequence[str]) -> list[Tensor]:
    """The weights of `nn.Embedding` and `nn.EmbeddingBag`, however the module reads them, and parameters by name.

    Args:
        module: The module.
        names: Of matrices that are tables as well.

    Raises:
        ValueError: A name that is no matrix of the module.
    """
    matrices = {name: p for name, p in module.named_parameters() if p.dim() == 2}
    if missing := [name for name in names if name not in matrices]:
        raise ValueError(
            f"GradientSurgery: tables={missing}, but {type(module).__name__} has no such matrices; allowed are "
            f"{list(matrices)}."
        )
    found = [m.weight for m in module.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)]
    return found + [matrices[name] for name in names]
