"""Tasks: what is predicted, which loss it has, and how logits become predictions."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, get_args

from mtlzoo.options import Range, check_options

if TYPE_CHECKING:  # what reads a schema alone, as `mtlzoo.serving`, needs no torch
    from torch import Tensor

TaskKind: TypeAlias = Literal["binary", "regression", "multiclass", "multilabel", "ranking", "link", "alignment"]
Weight: TypeAlias = Annotated[float, Range(0)]
KINDS: tuple[TaskKind, ...] = get_args(TaskKind)
VECTOR_KINDS = frozenset({"ranking", "link", "alignment"})
"""Kinds whose loss compares the vectors of users and items; only models that have such learn them."""


@dataclass(frozen=True)
class Task:
    """One target. A label that is not observed is NaN; losses and metrics leave it out.

    Args:
        name: Name, also in metrics: ``val/<name>/auc``.
        kind: ``binary`` (logistic loss), ``regression`` (squared error), ``multiclass`` (softmax), ``multilabel`` (one
            logistic loss per class, averaged), ``ranking`` (order items for a user; its label is 1 for a positive
            interaction and NaN else), or, without labels: ``link`` (whether two users or two items are linked, by the
            schema's links of the task's name) and ``alignment`` (interacting users and items close, all others apart).
        weight: Factor of its loss in the sum that is minimised.
        classes: Number of classes of ``multiclass`` and ``multilabel``.
        class_names: Names of the classes, where they have some.
        center: A regression predicts ``center + scale * output``; from train only.
        scale: See `center`; the loss is in units of `scale`, metrics are in the label's own units.
        observed: Binary label that must be 1 for this one to be observed (a conversion after a click); the
            preparation writes NaN elsewhere. Empty: everywhere.

    Raises:
        ValueError: A value that its annotation does not allow, `classes` missing or out of place, a scale not above 0.
    """

    name: str
    kind: TaskKind = "binary"
    weight: Weight = 1.0
    classes: Annotated[int, Range(0)] = 0
    center: float = 0.0
    scale: float = 1.0
    observed: str = ""
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_options(self)
        if "/" in self.name or not self.name:
            raise ValueError(
                f"Task name {self.name!r}: must not be empty and must not hold '/', which separates metric names."
            )
        if (self.classes >= 2) != (self.kind in ("multiclass", "multilabel")):
            raise ValueError(
                f"Task {self.name!r}: kind {self.kind!r} with classes={self.classes}; "
                "multiclass and multilabel need classes >= 2, others none."
            )
        if self.class_names and len(self.class_names) != self.classes:
            raise ValueError(
                f"Task {self.name!r}: {len(self.class_names)} class_names with classes={self.classes}; one for each."
            )
        if not self.scale > 0:
            raise ValueError(f"Task {self.name!r}: scale {self.scale}; allowed are numbers > 0.")

    @property
    def outputs(self) -> int:
        """Logits per row."""
        return self.classes or 1

    @property
    def label_width(self) -> int:
        """Columns in the label tensor."""
        if self.kind in ("link", "alignment"):
            return 0
        return self.classes if self.kind == "multilabel" else 1

    def row_losses(self, logits: "Tensor", labels: "Tensor") -> "tuple[Tensor, Tensor]":
        """Loss of every row and whether it is observed.

        Args:
            logits: Float [B] or [B, outputs].
            labels: Float [B, label_width], NaN where not observed.

        Returns:
            Losses [B], 0 where not observed, and the mask [B]. A multilabel row is the mean over its observed classes.
        """
        import torch
        import torch.nn.functional as F

        from mtlzoo.precision import single

        if self.kind in VECTOR_KINDS:
            raise NotImplementedError(
                f"Task {self.name!r}: the loss of kind {self.kind!r} compares vectors, not logits."
            )
        observed = ~torch.isnan(labels)
        known = torch.where(observed, labels, 0.0)
        logits = single(logits)
        if self.kind == "multiclass":
            target = known.squeeze(-1).long()
            losses = F.cross_entropy(logits, target, reduction="none").unsqueeze(-1)
        elif self.kind == "regression":
            target = ((known.double() - self.center) / self.scale).to(
                logits.dtype
            )  # few digits may be left of 32 bits'
            losses = (logits.unsqueeze(-1) - target).square()
        else:
            losses = F.binary_cross_entropy_with_logits(
                logits.reshape(known.shape), known.to(logits.dtype), reduction="none"
            )
        count = observed.sum(-1)
        return torch.where(observed, losses, 0.0).sum(-1) / count.clamp(min=1), count > 0

    def predict(self, logits: "Tensor") -> "Tensor":
        """Probabilities; a regression's values in its label's units, float64; a ranking's scores. Shape of `logits`."""
        from mtlzoo.precision import single

        logits = single(logits)
        if self.kind == "regression":
            return logits.double() * self.scale + self.center
        if self.kind in VECTOR_KINDS:
            return logits
        return logits.softmax(-1) if self.kind == "multiclass" else logits.sigmoid()
