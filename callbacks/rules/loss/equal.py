"""Equal: `Sum` as a rule on losses."""

from torch import Tensor

from mtlzoo.callbacks.rules.base import LossRule


class Equal(LossRule):
    """Weight 1 for every task, as `Sum` and as training without any callback: the baseline. Without state.

    LibMTL's EW is the same (its documentation says 1/T); torchjd's Mean is 1/T of it.
    """

    def solve(self, losses: Tensor, active: Tensor) -> Tensor:
        """Ones."""
        return active.double()
