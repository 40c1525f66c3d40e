"""What ``.grad`` is made of, where several backward passes of a step add to it and some do so anew."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from torch import Tensor

from mtlzoo.callbacks import collectives


@dataclass
class _Account:
    """One parameter's gradient: what was there first, what each step gave, and the sum as it was written."""

    start: Tensor | None
    given: dict[object, Tensor] = field(default_factory=dict)
    gradient: Tensor | None = None
    version: int = 0


def put(parameter: Tensor, gradient: Tensor) -> None:
    """Sets ``.grad``, and calls hooks as torch does after its own accumulation; one may take it away again."""
    parameter.grad = gradient
    for hook in dict(parameter._post_accumulate_grad_hooks or {}).values():
        hook(parameter)


class Written:
    """The gradients that were written, until somebody else changes, clears or replaces them."""

    def __init__(self) -> None:
        self._accounts: dict[Tensor, _Account] = {}
        self._of: dict[object, dict[Tensor, _Account]] = {}

    def give(self, step: object, parameter: Tensor, gradient: Tensor) -> None:
        """Adds to what ``.grad`` held before, in place of what this step gave earlier.

        Raises:
            RuntimeError: Under DDP, gradients from elsewhere.
        """
        account = self._account(parameter)
        account.given[step] = gradient.to(parameter.dtype)
        self._of.setdefault(step, {})[parameter] = account
        _write(parameter, account)

    def add(self, parameter: Tensor, gradient: Tensor) -> None:
        """Adds for good.

        Raises:
            RuntimeError: Under DDP, gradients from elsewhere.
        """
        account = self._account(parameter)
        account.start = gradient if account.start is None else account.start + gradient
        _write(parameter, account)

    def used(self, step: object) -> bool:
        """Whether what a step gave is no longer there: then its gradients are used up."""
        gave = self._of.get(step, {}).items()
        return any(self._accounts.get(p) is not account or not _there(p, account) for p, account in gave)

    def forget(self, parameters: Iterable[Tensor]) -> list[object]:
        """Begins anew with parameters that an optimiser steps; returns the steps that gave to them."""
        done = {step for p in parameters if (account := self._accounts.pop(p, None)) for step in account.given}
        for step in done:
            self._of.pop(step, None)
        return list(done)

    def drop(self, step: object) -> None:
        """Keeps no more of a step whose gradients are used up."""
        self._of.pop(step, None)

    def _account(self, parameter: Tensor) -> _Account:
        account = self._accounts.get(parameter)
        if account is None or not _there(parameter, account):
            account = self._accounts[parameter] = _Account(_start(parameter))
        return account


def _start(parameter: Tensor) -> Tensor | None:
    start = parameter.grad
    if start is None or collectives.world_size() == 1:
        return start
    if start.to_dense().any() if start.is_sparse else start.any():
        raise RuntimeError(
            "GradientSurgery found gradients from elsewhere before it wrote its own; under DDP nobody has averaged "
            "them. Call zero_grad() before manual_backward, and manual_backward for every loss."
        )
    return None


def _write(parameter: Tensor, account: _Account) -> None:
    total = account.start
    for gradient in account.given.values():
        total = gradient if total is None else total + gradient
    assert total is not None
    account.gradient, account.version = total, total._version
    put(parameter, total)


def _there(parameter: Tensor, account: _Account) -> bool:
    gradient = parameter.grad
    if gradient is not account.gradient or gradient is None:
        return False
    # torch counts no changes of sparse gradients that are coalesced anew
    return gradient.is_sparse or gradient._version == account.version
