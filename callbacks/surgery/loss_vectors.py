"""The vectors of losses that a module hands over: which one it is, and what each goes on with."""

import copy
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from mtlzoo.callbacks import collectives
from mtlzoo.callbacks.diagnostics import check_not_rows
from mtlzoo.callbacks.handover import arranged, task_names
from mtlzoo.callbacks.rules.base import GramianRule
from mtlzoo.callbacks.surgery.fit import Fit
from mtlzoo.callbacks.surgery.graph import Mask, TaskGraph
from mtlzoo.callbacks.surgery.groups import Groups, Level, Others, find_tables
from mtlzoo.callbacks.surgery.loss_vector import LossVector, find


class LossVectors:
    """All vectors of a training, in the order in which they came; each has a rule with a state of its own.

    Args:
        rule: Of the first vector; others get copies of it as it was before.
        level: What one Gramian is taken over.
        tasks: Names of the tasks, if the user gave them.
        tables: Names of parameters that are tables beside `nn.Embedding`.
        others: What shared parameters that are no tables get at level ``row``.
    """

    def __init__(self, rule: Any, level: Level, tasks: list[str] | None, tables: Sequence[str], others: Others) -> None:
        self.rule, self.level, self.tasks, self.tables, self.others = rule, level, tasks, tables, others
        self._fresh = copy.deepcopy(rule) if isinstance(rule, nn.Module) else rule
        self._all: list[LossVector] = []
        self._saved: list[dict[str, Any]] = []
        self._last: weakref.ref[nn.Module] | None = None
        # Known from `begin` to `end`.
        self._fit: Fit

    def __iter__(self) -> Iterator[LossVector]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def rules(self) -> list[Any]:
        """Every rule once."""
        return [self.rule, *(vector.rule for vector in self._all[1:])]

    # ---- which vector it is

    def arranged(self, losses: Tensor, names: list[str] | None) -> Tensor:
        """Named losses in the order of their vector's tasks; others as they are.

        Raises:
            ValueError: Tasks that are not known, or missing.
        """
        self._restore()
        if names is None:
            return losses
        order = self._order(names)
        return arranged("GradientSurgery", losses, names, order, missing=order == self.tasks)

    def of(self, graph: TaskGraph, names: list[str] | None, rows: int) -> LossVector | None:
        """The vector that these losses are, one that is new if need be; None where they hang on no parameter.

        Args:
            graph: Of the losses, arranged.
            names: Of the losses, if the module gave any.
            rows: Of the batch; 0 where that is not known.

        Raises:
            ValueError: Another number of losses than before, losses without gradient, or names that don't fit.
        """
        trained, tasks = set(self._fit.parameters()), len(graph.roots)
        reached = {leaf.parameter: leaf.tasks for leaf in graph.leaves if leaf.parameter in trained}
        if names is not None:
            vector = next((one for one in self._all if one.names == self._order(names)), None)
        elif reached:
            vector = find(self._all, reached)
        else:  # nobody observed anything, in this process
            vector = next((one for one in self._all if len(one.names) == tasks), None)
        if vector is None:
            return self._new(graph, names, reached, rows)
        if len(vector.names) != tasks:
            raise ValueError(
                f"GradientSurgery: {tasks} losses where there were {len(vector.names)} before, of the parameters that "
                f"the tasks {vector.names} share. Give all of them in every step: for a task without rows a loss of 0, "
                "such as h.new_zeros(()); or name the losses, {'a': loss_a}, and all tasks, tasks=['a', 'b']."
            )
        vector.see(reached)
        return vector

    def _order(self, names: list[str]) -> list[str]:
        """The tasks among which these are."""
        known = [*([self.tasks] if self.tasks else []), *(vector.names for vector in self._all)]
        return next((order for order in known if set(order) & set(names)), names)

    def _new(
        self, graph: TaskGraph, names: list[str] | None, reached: Mapping[Tensor, Mask], rows: int
    ) -> LossVector | None:
        if not reached and collectives.world_size() == 1:
            if self._all:
                return None
            raise ValueError(
                "GradientSurgery: no loss has a gradient: none hangs on a parameter that trains. Losses that went "
                "through detach(), item(), numpy or torch.tensor(...) train nothing; stack the losses themselves: "
                "torch.stack([loss_a, loss_b])."
            )
        declared = (self._order(names) if names else None) or self.tasks or task_names(self._fit.module)
        if declared is None:
            check_not_rows("GradientSurgery", len(graph.roots), rows, graph.separate)
        held = list(declared or map(str, range(len(graph.roots))))
        if len(held) != len(graph.roots):
            raise ValueError(
                f"GradientSurgery: {len(graph.roots)} losses for the tasks {held}. Give one name per loss."
            )
        vector = self._made(held, [])
        vector.see(reached)
        self._all.append(vector)
        return vector

    def _made(self, names: list[str], order: Sequence[Tensor]) -> LossVector:
        """A vector whose groups are numbered in an order, what is not in it behind."""
        rule = copy.deepcopy(self._fresh) if self._all else self.rule
        if isinstance(main := getattr(rule, "main_task", None), str):
            if main not in names:
                raise ValueError(f"{type(rule).__name__}: main_task={main!r}; allowed are {names}.")
            rule.main_task = names.index(main)
        tables = find_tables(self._fit.module, self.tables)
        if self.others == "sum" and not tables:
            raise ValueError(
                f"GradientSurgery(others='sum'): {type(self._fit.module).__name__} has no nn.Embedding, so nothing is "
                "left for the rule. Name the parameters that are its tables: tables=[...]."
            )
        groups = Groups.of(self.level, dict.fromkeys([*order, *self._fit.parameters()]), tables, self.others)
        if isinstance(rule, GramianRule):
            rule.allocate(groups.total, len(names))
        if isinstance(rule, nn.Module):
            rule.to(self._fit.device)
        return LossVector(names, rule, groups)

    def grow(self, vector: LossVector) -> None:
        """Makes room for parameters that were not there when a vector came first."""
        vector.groups = vector.groups.extended(self._fit.parameters(), find_tables(self._fit.module, self.tables))
        if isinstance(vector.rule, GramianRule):
            vector.rule.grow(vector.groups.total, len(vector.names))

    # ---- a training begins, is saved, goes on, ends

    def begin(self, fit: Fit) -> None:
        """Says what is trained; what an earlier training left is for its own module only."""
        if self._last is not None and self._last() is not fit.module:
            self._saved = []
        self._fit, self._last = fit, weakref.ref(fit.module)

    def end(self) -> None:
        """Keeps the state for a next training of these parameters."""
        self._saved = self.state()
        self._all = []

    def state(self) -> list[dict[str, Any]]:
        """What a checkpoint holds of every vector."""
        if not self._all:
            return self._saved
        name_of = self._fit.names()
        return [vector.state(name_of) for vector in self._all]

    def load(self, saved: list[dict[str, Any]]) -> None:
        """Goes on from `state`; the vectors come back with the first losses, when all parameters are known."""
        self._all, self._saved = [], saved
        if hasattr(self.rule, "load_state_dict"):
            self.rule.load_state_dict(saved[0]["rule"] if saved else self._fresh.state_dict())

    def _restore(self) -> None:
        if self._all or not self._saved:
            return
        named = dict(self._fit.module.named_parameters())
        declared = self.tasks or task_names(self._fit.module)
        for saved in self._saved:
            nameless = saved["names"] == [str(number) for number in range(len(saved["names"]))]
            if declared and not nameless and sorted(declared) == sorted(saved["names"]) and declared != saved["names"]:
                raise ValueError(
                    f"GradientSurgery: the tasks are {declared}, and those of the training that goes on were "
                    f"{saved['names']}; the state of the rule is by their order. Give them in the same order."
                )
            vector = self._made(saved["names"], [named[name] for name in saved["order"] if name in named])
            if self._all and hasattr(vector.rule, "load_state_dict"):
                vector.rule.load_state_dict(saved["rule"])
            weights = saved["weights"]  # on the CPU, where a checkpoint is read
            vector.weights = None if weights is None else weights.to(self._fit.device)
            vector.steps = saved["steps"]
            vector.reached = {named[name]: mask for name, mask in saved["reached"].items() if name in named}
            vector.see(vector.reached)
            self._all.append(vector)
