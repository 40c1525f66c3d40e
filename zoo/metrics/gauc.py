"""Grouped AUC: how well the rows of one user (or request) are ordered among themselves, averaged over users."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torchmetrics.utilities.data import dim_zero_cat
from torchmetrics.utilities.distributed import gather_all_tensors

from mtlzoo.metrics.base import DoubleMetric, side_by_side
from mtlzoo.metrics.grouped import grouped_auc
from mtlzoo.metrics.observed import Observed, observed

BLOCK = 2**20
"""Rows that stay on the device before they move to the CPU together."""


class GAUC(DoubleMetric):
    """Mean AUC of the groups that have both classes, under the three weightings that the field calls GAUC.

    * ``gauc_impressions``: a group counts by its rows (DIN, KDD 2018; FuxiCTR; torch-rechub).
    * ``gauc_positives``: a group counts by its positive rows (RecBole).
    * ``gauc_unweighted``: every group counts once (TorchEasyRec).

    Groups with one class have no AUC and are left out of the mean. Tied scores count half; scores are compared in
    float32. Sample weights are masses: a row of weight 2 counts as two rows. Keeps 16 bytes per row on the CPU; with
    several ranks each gathers the rows of all.

    Args:
        resolution: See `mtlzoo.metrics.AUC`.
    """

    higher_is_better = True
    full_state_update = True  # keeps `forward` from merging the lists at every batch
    rows: list[Tensor]
    groups: list[Tensor]

    def __init__(self, resolution: float = 0.0) -> None:
        super().__init__(dist_sync_fn=_gather)
        self.resolution = resolution
        self.add_state("rows", [], dist_reduce_fx=side_by_side)
        self.add_state("groups", [], dist_reduce_fx="cat")

    def update(self, scores: Tensor, labels: Tensor | Observed, groups: Tensor, weight: Tensor | None = None) -> None:
        """Add rows: scores [B], labels [B] in {0, 1, NaN}, groups int [B] (any numbers: raw user ids), weight [B]."""
        known, mass = observed(labels, weight)
        self.rows.append(torch.stack([scores.detach().float(), mass.copysign(known - 0.5).float()]))
        self.groups.append(groups.long())
        # Counting the rows takes longer than adding some: only now and then.
        if len(self.rows) % 32 == 0 and sum(rows.shape[1] for rows in self.rows if rows.shape[1] < BLOCK) >= BLOCK:
            self._compact()

    def compute(self) -> dict[str, Tensor]:
        """The three means; NaN without a group that has both classes, or where a score is NaN."""
        if isinstance(self.rows, list):  # else they are those of all ranks, gathered
            self._compact()
        scores, masses = side_by_side(self.rows).numpy()
        means = grouped_auc(scores, masses, dim_zero_cat(self.groups).numpy(), self.resolution)
        return {
            f"gauc_{name}": torch.tensor(mean, dtype=torch.float64, device=self.device) for name, mean in means.items()
        }

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Gather the rows of all ranks."""
        self._compact()
        super().sync(*args, **kwargs)

    def _compact(self) -> None:
        """Move what came since the last time to the CPU, as one block; there is one even if nothing ever came."""
        pairs = list(zip(self.rows, self.groups, strict=True))
        blocks = [pair for pair in pairs if pair[0].shape[1] >= BLOCK and pair[0].is_cpu]
        recent = [pair for pair in pairs if pair[0].shape[1] < BLOCK or not pair[0].is_cpu]
        if recent:
            blocks.append((side_by_side([r.cpu() for r, _ in recent]), torch.cat([g.cpu() for _, g in recent])))
        elif not blocks:
            blocks.append((torch.zeros(2, 0), torch.zeros(0, dtype=torch.int64)))
        self.rows, self.groups = [rows for rows, _ in blocks], [groups for _, groups in blocks]

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = ()) -> torch.nn.Module:
        self._compact()
        return super()._apply(fn, exclude_state=("rows", "groups", *exclude_state))


def _gather(rows: Tensor, group: Any = None) -> list[Tensor]:
    """Rows of every rank; NCCL takes only what lies on its GPU."""
    if "nccl" not in dist.get_backend(group):
        return gather_all_tensors(rows, group)
    return [of_rank.cpu() for of_rank in gather_all_tensors(rows.cuda(), group)]
