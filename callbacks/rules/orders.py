"""In which order rules that go through the tasks one after another take them."""

from typing import Any

import torch
from torch import Tensor

from mtlzoo.callbacks.rules.arguments import check
from mtlzoo.callbacks.rules.base import GramianRule
from mtlzoo.callbacks.rules.draws import Draws
from mtlzoo.callbacks.to_device import sent


class OrderedRule(GramianRule):
    """A rule that corrects each task's gradient by the others, one after another.

    A call draws one order of the others per task, the same in all its groups: drawing one per row of a table would
    cost more than the rule, and a group then gets the same weights alone or among others.

    Args:
        order: One of `allowed`.
        seed: Of the random orders. They depend on it and the number of earlier calls, which `state_dict` holds, not on
            torch's generator: they resume, and all processes draw the same.
        allowed: The possible orders.

    Raises:
        ValueError: Another order.
    """

    def __init__(self, order: str, seed: int, allowed: tuple[str, ...]) -> None:
        super().__init__()
        check(self, "order", order, ", ".join(allowed), order in allowed)
        self.order = order
        self.draws = Draws(seed)

    def get_extra_state(self) -> dict[str, Any]:
        """The place in the sequence of orders."""
        return self.draws.state()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Goes on where `state` was taken."""
        self.draws.restore(state)

    def _orders(self, tasks: int, device: torch.device) -> Tensor:
        """The orders of this call, int64 [T, T - 1]: row i is the others of task i."""
        if self.order == "random":
            keys = torch.rand(tasks, tasks, generator=self.draws.generator(), dtype=torch.float64)
        else:
            keys = torch.arange(tasks, dtype=torch.float64).expand(tasks, tasks)
        own = torch.eye(tasks, dtype=torch.bool)
        return sent(torch.where(own, torch.inf, keys).argsort(-1)[:, :-1], device)
