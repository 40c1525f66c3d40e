"""One vector of losses through a training: its tasks, the parameters that they share, and its rule's state.

Most modules have one vector. Two networks that are trained in turns, such as those of a GAN, have one each; they are
told apart by the parameters that they reach.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import Any

from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor

from mtlzoo.callbacks.rules.base import GramianRule
from mtlzoo.callbacks.surgery.graph import Mask, TaskGraph, alone
from mtlzoo.callbacks.surgery.groups import Groups
from mtlzoo.callbacks.surgery.norm_log import NormLog
from mtlzoo.callbacks.surgery.step import Step
from mtlzoo.callbacks.surgery.task_gradients import TaskGradients


@dataclass
class LossVector:
    """What surgery keeps of one vector of losses.

    Args:
        names: Of the tasks.
        rule: The vector's own.
        groups: Of the parameters there were when it came first, and of those that came later.
        reached: By parameter, the tasks that reached it so far: what two of them reached once is shared for good, also
            in a step in which nobody observed one of the two.
        seen: The same as the graphs of losses say, micro-batches included that no rule has seen yet.
        weights: Those that the rule gave last, [G, T].
        gramians: Those that it gave them for, [G, T, T].
        steps: Steps of the optimiser so far.
        open: The step that is not done yet.
        norms: The log of the gradients' lengths, for rules that depend on it.
    """

    names: list[str]
    rule: Any
    groups: Groups
    reached: dict[Tensor, Mask] = field(default_factory=dict)
    seen: dict[Tensor, Mask] = field(default_factory=dict)
    weights: Tensor | None = None
    gramians: Tensor | None = None
    steps: int = 0
    open: Step | None = None
    norms: NormLog | None = None

    def __post_init__(self) -> None:
        if isinstance(self.rule, GramianRule) and self.rule.degree is None:
            self.norms = NormLog(self.names)

    def see(self, reached: Mapping[Tensor, Mask]) -> None:
        """Takes in what losses reach by their graph."""
        for parameter, tasks in reached.items():
            self.seen[parameter] = self.seen.get(parameter, 0) | tasks

    def remember(self, gradients: TaskGradients, *, keep: bool) -> None:
        """Tells the gradients which tasks reached what before, and takes in which do now.

        Args:
            gradients: Of a step, of all processes.
            keep: Whether to; not of a step that overflows, whose gradients are evidence of nothing.
        """
        for parameter, entry in gradients:
            entry.tasks |= self.reached.get(parameter, 0)
            if keep:
                self.reached[parameter] = entry.tasks

    def shares(self, parameter: Tensor) -> bool:
        """Whether two tasks or more have reached a parameter."""
        return not alone(self.reached.get(parameter, 0))

    def knows(self, graph: TaskGraph) -> bool:
        """Whether what one task alone reaches in this graph is that task's own."""
        return not any(alone(leaf.tasks) and self.shares(leaf.parameter) for leaf in graph.leaves)

    def say_what_is_shared(self, parameters: Iterable[Tensor]) -> None:
        """Says what the first step found: what is shared, and what no task reaches."""
        trained = [p for p in parameters if p.requires_grad]
        shared = sum(self.shares(p) for p in trained)
        silent = sum(not self.reached.get(p) for p in trained)
        rank_zero_info(
            f"GradientSurgery({type(self.rule).__name__}): {len(self.names)} tasks ({_listed(self.names)}), "
            f"{shared} shared, {len(trained) - shared - silent} private parameters, {silent} without gradient"
        )

    def warn_of_silent_tasks(self) -> None:
        """After the first epoch: tasks whose losses hung on nothing that trains in every step of it."""
        everyone = reduce(or_, self.reached.values(), 0)
        silent = [name for task, name in enumerate(self.names) if not everyone >> task & 1]
        if silent and everyone:
            rank_zero_warn(
                f"GradientSurgery: the losses of {silent} had no gradient in the whole epoch. Do they come from "
                "detach(), item() or torch.tensor(...), or has nobody observed these tasks?"
            )

    def state(self, name_of: Mapping[Tensor, str]) -> dict[str, Any]:
        """What a checkpoint holds; of parameters that only an optimiser knows nothing."""
        return {
            "names": self.names,
            "rule": self.rule.state_dict() if hasattr(self.rule, "state_dict") else {},
            "weights": self.weights,
            "steps": self.steps,
            "reached": {name_of[p]: mask for p, mask in self.reached.items() if p in name_of},
            "order": [name_of[p] for p in self.groups.first if p in name_of],
        }


def find(vectors: Sequence[LossVector], reached: Mapping[Tensor, Mask]) -> LossVector | None:
    """The vector that losses which reach these parameters belong to: one that shares what they share.

    Where they share nothing, as in a step in which one task is observed, or the vector does not yet, one that reaches
    the same.
    """
    shared = [p for p, tasks in reached.items() if not alone(tasks)]
    for vector in vectors:
        if any(not alone(vector.seen.get(p, 0)) for p in shared):
            return vector
    for vector in vectors:
        if (not shared or all(map(alone, vector.seen.values()))) and any(p in vector.seen for p in reached):
            return vector
    return None


def _listed(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
