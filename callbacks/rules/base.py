"""The three kinds of rule: pure tensor maths, no Lightning.

A rule decides how the gradients of T tasks become one. What it needs to know sets its kind: the Gramian of the
gradients (`GramianRule`), only the losses (`LossRule`), or the gradients themselves (`GradientRule`).
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mtlzoo.callbacks.described import described


class _State(nn.Module):
    """Buffers whose leading dimension is only known in training: loading takes the shape and type that were saved."""

    __repr__ = described

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        for name, buffer in self._buffers.items():
            saved = state_dict.get(prefix + name)
            if buffer is not None and saved is not None and saved.shape != buffer.shape:
                self._buffers[name] = torch.empty_like(saved, device=buffer.device)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class GramianRule(_State):
    """Weights of the tasks from the inner products of their gradients: one gradient is ``sum_t w_t g_t``.

    `forward` checks the shape, works in float64 whatever comes in, divides by the largest squared norm (as a power of
    two, so that nothing is rounded), and gives a task without gradient the weight 0, where the rule does not say
    otherwise. Leading dimensions are independent groups (parameters, rows of tables); nothing syncs with the host.
    Non-finite input gives non-finite weights, where the rule looks at what is not finite; the weighted gradient is
    not finite in any case.

    A rule of one's own overrides `solve`; rules with a state per group also override `allocate` and name its buffers
    in `by_group`.
    """

    by_group: ClassVar[tuple[str, ...]] = ()
    """Names of buffers with a row for every group; all others belong to the whole rule."""

    needs_losses: ClassVar[bool] = False
    """Whether `forward` must be given the losses."""

    degree: float | None = 0.0
    """``weights(c * gramian) == c**degree * weights(gramian)``; None for rules that depend on the scale otherwise:
    they see the Gramian as it is."""

    masks_inactive: ClassVar[bool] = True
    """Whether a task whose gradient is zero always gets the weight 0."""

    def forward(self, gramian: Tensor, *, losses: Tensor | None = None, groups: Tensor | None = None) -> Tensor:
        """Returns the weights.

        Args:
            gramian: [..., T, T], ``gramian[..., s, t] = <g_s, g_t>``.
            losses: [T], the losses of this batch, for rules with `needs_losses`.
            groups: [...], int64: the places of these groups in the rule's state, as numbers below the one given to
                `allocate`; None means that all groups are there, in order.

        Returns:
            [..., T], in the type of `gramian`.

        Raises:
            ValueError: Wrong shapes, fewer than one task, or missing losses.
        """
        if gramian.dim() < 2 or gramian.shape[-1] != gramian.shape[-2] or not gramian.shape[-1]:
            raise ValueError(
                f"{type(self).__name__} takes a Gramian [..., T, T] of T tasks' gradients, got the shape "
                f"{tuple(gramian.shape)}."
            )
        tasks = gramian.shape[-1]
        if losses is not None and losses.shape != (tasks,):
            raise ValueError(
                f"{type(self).__name__}: {tuple(losses.shape)} losses for a Gramian of {tasks} tasks; give one each."
            )
        if self.needs_losses and losses is None:
            raise ValueError(f"{type(self).__name__} needs the losses of the tasks beside the Gramian: losses=[T].")
        with torch.no_grad():
            exact = gramian.double()
            squares = exact.diagonal(dim1=-2, dim2=-1)
            active = squares != 0
            if self.degree is None:
                weights = self.solve(exact, active, losses=losses, groups=groups)
            else:
                # A power of four: its square root, the scale of the gradients, is exact as well.
                exponent = torch.frexp(squares.amax(-1))[1] // 2 * 2
                normal = exact * torch.exp2(-exponent.double())[..., None, None]
                weights = self.solve(normal, active, losses=losses, groups=groups)
                if self.degree:
                    weights = weights * torch.exp2(self.degree * exponent.double())[..., None]
            if self.masks_inactive:
                weights = torch.where(active, weights, 0.0)
        return weights.to(gramian.dtype)

    def solve(self, gramian: Tensor, active: Tensor, *, losses: Tensor | None, groups: Tensor | None) -> Tensor:
        """The rule itself.

        Args:
            gramian: [..., T, T] in float64, its largest diagonal entry in [1/2, 2) where the rule has a `degree`.
            active: [..., T], which tasks have a gradient at all.
            losses: [T] or None.
            groups: [...] or None, places in the state.

        Returns:
            [..., T] in float64; finite for every finite Gramian, all-zero ones included.
        """
        raise NotImplementedError(f"{type(self).__name__} must define solve().")

    def allocate(self, groups: int, tasks: int) -> None:
        """Makes room for the state of so many groups, once, before the first call; keeps a state of that size."""

    def grow(self, groups: int, tasks: int) -> None:
        """Makes room for more groups: those there are keep their state, those behind them begin as in `allocate`.

        Raises:
            ValueError: Fewer groups than there are, or another number of tasks.
        """
        before = {name: buffer.clone() for name, buffer in self.named_buffers() if buffer.numel()}
        for name in self.by_group:
            if name in before and (len(before[name]) > groups or before[name].shape[1] != tasks):
                raise ValueError(
                    f"{type(self).__name__} has a state {name} [groups, tasks, ...] of the shape "
                    f"{tuple(before[name].shape)}, and shall now hold {groups} groups of {tasks} tasks. Groups can "
                    "only be added, and tasks must stay as many; make a new rule where they don't."
                )
        self.allocate(groups, tasks)
        for name, old in before.items():
            new = self.get_buffer(name)
            (new[: len(old)] if name in self.by_group else new).copy_(old)


class LossRule(_State):
    """Weights of the tasks from their losses: the derivatives of the rule's one value by each loss.

    Training on ``(weights * losses).sum()`` then moves every parameter, heads included, as the paper's scalar would.
    A rule with weights of its own to learn keeps them, and its optimiser's moments, as buffers, and learns by itself.
    A loss of exactly 0 is a task that nobody observed in this batch: it takes no part.
    """

    needs_losses_after_step: ClassVar[bool] = False
    """Whether `update` must be called with the losses of the same batch after the optimiser's step."""

    def forward(self, losses: Tensor) -> Tensor:
        """Returns the weights.

        Args:
            losses: [T], of this batch (of all processes), detached.

        Returns:
            [T], in the type of `losses`.

        Raises:
            ValueError: Not a vector.
        """
        if losses.dim() != 1 or not len(losses):
            raise ValueError(f"{type(self).__name__} takes a vector of losses [T], got {tuple(losses.shape)}.")
        with torch.no_grad():
            return self.solve(losses.double(), losses != 0).to(losses.dtype)

    def solve(self, losses: Tensor, active: Tensor) -> Tensor:
        """The rule itself: float64 losses [T] and which of them take part, to float64 weights [T]."""
        raise NotImplementedError(f"{type(self).__name__} must define solve().")

    def allocate(self, tasks: int) -> None:
        """Makes room for the state of so many tasks, once, before the first call; keeps a state of that size."""

    def update(self, losses: Tensor) -> None:
        """Takes the losses [T] of the same batch after the step, where `needs_losses_after_step`."""

    def end_epoch(self) -> None:
        """Tells that an epoch of training has ended."""


class GradientRule(_State):
    """One gradient from T gradients: element by element, or of all shared parameters at once."""

    whole: ClassVar[bool] = False
    """Whether it takes the gradients of all shared parameters in one call, [T, d], and not parameter by parameter."""

    needs_losses: ClassVar[bool] = False
    """Whether `forward` must be given the losses."""

    def forward(self, gradients: Tensor, *, losses: Tensor | None = None) -> Tensor:
        """Returns the gradient.

        Args:
            gradients: [T, ...].
            losses: [T], the losses of this batch, for rules with `needs_losses`.

        Returns:
            [...], in the type of `gradients`.

        Raises:
            ValueError: Missing losses, or not one for each task.
        """
        if self.needs_losses and (losses is None or losses.shape != gradients.shape[:1]):
            raise ValueError(f"{type(self).__name__} needs the losses of the tasks beside the gradients: losses=[T].")
        with torch.no_grad():
            return self.solve(gradients, losses=losses)

    def solve(self, gradients: Tensor, *, losses: Tensor | None) -> Tensor:
        """The rule itself, in the type of `gradients`."""
        raise NotImplementedError(f"{type(self).__name__} must define solve().")
