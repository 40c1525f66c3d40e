"""`PMTRecRule`: weights by the norms of the gradients, more and more of them for the main task."""

import math

import torch
from torch import Tensor

from mtlzoo.callbacks.rules.arguments import check, task_number
from mtlzoo.callbacks.rules.base import GramianRule

LARGEST = 690.0
"""Of exponents: exp(710) is infinite."""


class PMTRecRule(GramianRule):
    """PMTRec (Yang et al., "Personalized Multi-task Training for Recommender System", IEEE BigData 2024, Eq. 3-6).

    ``n_t = |g_t|``, ``n_main = n_main alpha^s`` in epoch s = 1, 2, ... (task focusing), ``w = softmax(n / tau)``
    (gradient magnitude balancing). The paper's groups are the rows of an embedding table. A larger norm makes a larger
    weight; the weights sum to 1, so a step is about 1/T of that of equal weighting. With Adam and ``tau`` far above
    the norms only the weight decay counts T times as much.

    Needs the squared norms. State: `epoch`, set by `set_epoch`. It sees the Gramian as it is: tau has the unit of a
    norm, and so hangs on the batch size, the reduction of the losses and the initialisation. Never carry it over:
    `GradientSurgery` logs quantiles of log10 of the norms per task (``surgery/log_norm/<task>/q50``), and tau far above
    them weighs all tasks alike, far below them the longest gradient alone. No power overflows, in whichever epoch. As
    in the paper a task without gradient keeps its part of the softmax, exp(0), and so shortens the others; a group
    without any gradient has the weights 1/T. Duplicates share equally; only norms count.

    The paper has one table, of users and items, that all tasks reach, and says nothing about other parameters.
    `GradientSurgery` gives a parameter that one task alone reaches, a table of items in no other task's loss, say, that
    task's plain gradient; the paper would shrink it as above. (PMTRec in the zoo keeps users and items in one table, so
    there every row is weighed as in the paper.) Other shared parameters are groups of their own, or, with
    ``GradientSurgery(..., others="sum")``, get the plain sum. Where a graph encoder multiplies the table (LightGCN,
    NGCF) the gradients are those of the table itself, and every row near the batch has one.

    The paper's ablations, as far as equal digits in its figures tell: without task focusing is ``alpha=1``, without
    magnitude balancing is ``tau=1`` (nearly uniform weights, with its small gradients). Its Epinion results belong to
    the defaults here; alpha was searched in 1.00, 1.02, ..., 1.20 and tau in 10, 1, ..., 1e-6. No code was released;
    torchjd and LibMTL don't have it.

    Args:
        main_task: Number of the main task, or its name, for the callback to replace.
        alpha: Growth of the main task's norms per epoch, at least 1.
        tau: Temperature; infinite: uniform weights.
        mask_untouched: Leaves tasks without gradient out of the softmax (not in the paper).

    Raises:
        ValueError: An argument outside of what is allowed; in the call, a main task that is not there or still a name.
    """

    degree = None
    masks_inactive = False
    epoch: Tensor

    def __init__(
        self, main_task: int | str = 0, alpha: float = 1.2, tau: float = 1e-4, mask_untouched: bool = False
    ) -> None:
        super().__init__()
        check(self, "alpha", alpha, "a finite number >= 1", 1 <= alpha < math.inf)
        check(self, "tau", tau, "a number > 0, or inf", tau > 0)
        check(self, "main_task", main_task, "a number from 0, or a name", isinstance(main_task, str) or main_task >= 0)
        self.main_task = main_task
        self.alpha, self.tau, self.mask_untouched = alpha, tau, mask_untouched
        self.register_buffer("epoch", torch.tensor(0))

    def set_epoch(self, epoch: int) -> None:
        """Tells the epoch, which is kept as state.

        Args:
            epoch: Lightning's `current_epoch`, from 0: the paper's s minus 1.

        Raises:
            ValueError: A negative epoch.
        """
        check(self, "epoch", epoch, "an integer from 0", epoch >= 0)
        self.epoch.fill_(epoch)

    def solve(self, gramian: Tensor, active: Tensor, *, losses: Tensor | None, groups: Tensor | None) -> Tensor:
        """The softmax of the norms."""
        tasks = gramian.shape[-1]
        main = torch.arange(tasks, device=gramian.device) == task_number("PMTRecRule", self.main_task, tasks)
        power = ((self.epoch + 1).double() * math.log(self.alpha)).clamp_max(LARGEST).exp()
        norms = gramian.diagonal(dim1=-2, dim2=-1).sqrt()
        # In this order: an infinite tau makes 0 of any norm, and a tiny one infinity, before the power comes in.
        logits = (norms / self.tau * torch.where(main, power, 1.0)).clamp_max(math.exp(LARGEST))
        logits = torch.where(norms.isfinite(), logits, torch.nan)
        if self.mask_untouched:
            logits = torch.where(active | ~active.any(-1, keepdim=True), logits, -torch.inf)
        return logits.softmax(-1)
