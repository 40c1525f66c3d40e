"""`Step`: what gradient surgery knows of one step of the optimiser, over any number of backward passes."""

from typing import Any

import torch
from torch import Tensor, nn

from mtlzoo.callbacks.rules.base import GradientRule, GramianRule
from mtlzoo.callbacks.surgery.task_gradients import TaskGradients


class Step:
    """What belongs to one step of the optimiser: gradients and losses so far, and the rule's state before it.

    Args:
        tasks: T.
        device: Of the losses.
        reuse: Weights [T] of an earlier step that this one takes; None asks the rule.
    """

    def __init__(self, tasks: int, device: torch.device, reuse: Tensor | None) -> None:
        self.gradients = TaskGradients()
        self.losses = torch.zeros(tasks, dtype=torch.float64, device=device)
        self.reuse = reuse
        self.begun = False
        """Whether losses have come."""
        self.pending = False
        """Whether micro-batches were collected that the rule has not seen."""
        self.extra: Any = None
        self.buffers: dict[str, tuple[Tensor | None, Tensor]] = {}

    def rewind(self, rule: GramianRule | GradientRule, groups: Tensor | None) -> None:
        """Brings the rule back to where this step began, if it was asked for this step before."""
        for name, (places, values) in self.buffers.items():
            buffer = rule.get_buffer(name)
            if places is None:
                buffer.resize_as_(values).copy_(values)  # a state that this step began was empty before
            else:
                buffer[places] = values
        if _has_extra(rule):
            self.extra = rule.get_extra_state() if self.extra is None else self.extra
            rule.set_extra_state(self.extra)
        by_group = rule.by_group if groups is not None and isinstance(rule, GramianRule) else ()
        for name, buffer in rule.named_buffers():
            # Of a state with a row per group only those that this step may change; the others stay untouched.
            self.buffers[name] = (groups, buffer[groups]) if name in by_group else (None, buffer.clone())


def _has_extra(rule: nn.Module) -> bool:
    return type(rule).get_extra_state is not nn.Module.get_extra_state
