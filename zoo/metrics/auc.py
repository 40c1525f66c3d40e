"""ROC-AUC and PR-AUC of a stream of rows, in constant memory."""

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torchmetrics.utilities import rank_zero_warn
from torchmetrics.wrappers.abstract import WrapperMetric

from mtlzoo.metrics.base import DoubleMetric, side_by_side
from mtlzoo.metrics.observed import Observed, observed
from mtlzoo.metrics.sketch import absorb, average_precision, roc_auc, shrink, tied, union

CAPACITY = 2**20
TOLERANCE = 1e-6


class AUC(DoubleMetric):
    """Area under the ROC curve and average precision, both from one sketch of the scores (`mtlzoo.metrics.sketch`).

    Exact, ties included, up to `capacity` different scores per process. Beyond, ``auc`` is within 1e-6 of the exact
    value for any distribution of scores; `compute` proves it for the rows it saw and warns where it can't (the proof is
    weaker where scores drift strongly from batch to batch). ``pr_auc`` has no such proof; ``benchmarks/metrics.py``
    measures it. Sample weights are masses: a row of weight 2 counts as two rows.

    Args:
        capacity: Buckets of the sketch, of 32 bytes each. Twice as many rows are buffered before they go in.
        resolution: Scores no further apart than this share of their size (of 1 if they are smaller) are ties, so that
            the last bits of logits decide nothing: `mtlzoo.metrics.ties`. 0: equal scores alone.
    """

    higher_is_better = True
    full_state_update = True  # `forward` must not merge two sketches at every batch
    buffer: list[Tensor]
    sketch: list[Tensor] | Tensor
    broken: Tensor

    def __init__(self, capacity: int = CAPACITY, resolution: float = 0.0) -> None:
        super().__init__()
        self.capacity = capacity
        self.resolution = resolution
        self.was_broken = torch.tensor(False)
        self.add_state("buffer", [], dist_reduce_fx=side_by_side)
        self.add_state("sketch", [], dist_reduce_fx=side_by_side)
        self.add_state("broken", torch.tensor(False), dist_reduce_fx="max")

    def update(self, scores: Tensor, labels: Tensor | Observed, weight: Tensor | None = None) -> None:
        """Add rows: scores [B] (whatever rises with the probability: logits), labels [B] in {0, 1, NaN}, weight [B]."""
        known, mass = observed(labels, weight)
        scores = scores.detach() if scores.dtype == torch.float64 else scores.detach().float()
        self.buffer.append(torch.stack([scores, mass.copysign(known - 0.5).to(scores.dtype)]))
        # Counting the buffered rows takes longer than adding some: only now and then.
        count = len(self.buffer) % 32 == 0 or 32 * len(scores) >= self.capacity
        if count and sum(rows.shape[1] for rows in self.buffer) >= 2 * self.capacity:
            self._flush()

    def compute(self) -> dict[str, Tensor]:
        """``auc`` and ``pr_auc``; NaN where a class is missing or a score is NaN."""
        self._flush()
        if isinstance(self.sketch, Tensor):  # those of all ranks, gathered
            sketch = union(self.sketch.to(self._workplace))
        else:
            sketch = self.sketch[0].to(self._workplace)
        if self.resolution:
            sketch = tied(sketch, self.resolution)
        auc, bound = roc_auc(sketch)
        if bound > TOLERANCE:
            rank_zero_warn(
                f"AUC: with {self.capacity} buckets the value is certain to ±{bound:.1e} only, because scores drifted "
                f"while the rows came in or capacity is small; AUC(capacity={2 * self.capacity}) halves that."
            )
        values = {"auc": auc, "pr_auc": average_precision(sketch)}
        self.was_broken = self.broken  # on any rank
        return {name: torch.where(self.broken, torch.nan, value.to(self.device)) for name, value in values.items()}

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Gather the sketches of all ranks."""
        self._flush()
        super().sync(*args, **kwargs)

    def _flush(self) -> None:
        """Move the buffered rows into the sketch, which is there afterwards even if there was no row."""
        if isinstance(self.sketch, Tensor):  # gathered: the buffers went in before
            return
        sketch = self.sketch[0] if self.sketch else torch.zeros(4, 0, dtype=torch.float64, device=self.device)
        if self.buffer:
            scores, masses = side_by_side(self.buffer).to(self._workplace)
            undefined = scores.isnan() & (masses != 0)
            self.broken = self.broken | undefined.any().to(self.device)
            masses = torch.where(undefined, 0.0, masses)
            sketch = absorb(sketch.to(self._workplace), scores, masses, self.capacity)
            sketch = shrink(sketch, self.capacity).to(self.device)
        self.sketch, self.buffer = [sketch], []

    @property
    def _workplace(self) -> torch.device:
        """Where sketches are worked on: asked for deterministic algorithms, CUDA refuses some of the steps."""
        return torch.device("cpu") if torch.are_deterministic_algorithms_enabled() else self.device


class MacroAUC(WrapperMetric):
    """Mean of `AUC` over the classes of a multilabel task; a class without both labels is left out.

    Args:
        classes: Number of classes.
        capacity: Of the sketch of each class.
        resolution: See `AUC`.
    """

    def __init__(self, classes: int, capacity: int = CAPACITY, resolution: float = 0.0) -> None:
        super().__init__()
        self.classes = nn.ModuleList(AUC(capacity, resolution) for _ in range(classes))

    def __repr__(self) -> str:
        """One line, not one per class."""
        return f"MacroAUC({len(self.classes)} classes)"

    @property
    def _metrics(self) -> Iterable[AUC]:
        return cast(Iterable[AUC], self.classes)

    def update(self, scores: Tensor, labels: Tensor | Observed, weight: Tensor | None = None) -> None:
        """Add rows: scores [B, classes], labels [B, classes] in {0, 1, NaN}, weight [B]."""
        known, mass = observed(labels, weight)
        for metric, *columns in zip(self._metrics, scores.unbind(1), known.unbind(1), mass.unbind(1), strict=True):
            metric.update(columns[0], Observed(*columns[1:]))

    def compute(self) -> dict[str, Tensor]:
        """``auc`` and ``pr_auc``; NaN where no class has both labels or a score is NaN."""
        values = [metric.compute() for metric in self._metrics]
        broken = torch.stack([metric.was_broken for metric in self._metrics]).any()
        means = {name: torch.stack([value[name] for value in values]).nanmean() for name in values[0]}
        return {name: torch.where(broken, torch.nan, mean) for name, mean in means.items()}

    def reset(self) -> None:
        """Forget all rows."""
        super().reset()
        for metric in self._metrics:
            metric.reset()
