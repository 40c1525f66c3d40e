"""A mixture of experts as other people write it, whose gates say what the batch tells them to."""

from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

TASKS = ("click", "like")
EXPERTS = 3
Batch = dict[str, Tensor]


class Softmax(nn.Module):
    """A gate without weights: the batch has its logits."""

    def forward(self, logits: Tensor) -> Tensor:
        return logits.softmax(-1)


class Gated(L.LightningModule):
    """Two tasks on three experts, trained on the vector of their losses."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(4, 2) for _ in range(EXPERTS))
        self.gates = nn.ModuleList(Softmax() for _ in TASKS)
        self.task_names = list(TASKS)

    def forward(self, x: Tensor, logits: Tensor) -> list[Tensor]:
        experts = torch.stack([expert(x) for expert in self.experts], 1)
        return [(gate(logits[:, t]).unsqueeze(-1) * experts).sum((1, 2)) for t, gate in enumerate(self.gates)]

    def losses(self, batch: Batch) -> Tensor:
        return torch.stack([output.square().mean() for output in self(batch["x"], batch["logits"])])

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        return self.losses(batch).sum()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.losses({**batch, "logits": -5 * batch["logits"]})

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Declared(Gated):
    """The same, which says itself what its gates are called."""

    @property
    def gate_modules(self) -> dict[str, tuple[str, str, list[str]]]:
        return {f"gates.{t}": ("mixture", task, ["a", "b", "c"]) for t, task in enumerate(TASKS)}


def columns(steps: int, rows: int = 8, *, dead: int | None = None) -> Batch:
    """``x`` [n, 4] and ``logits`` [n, T, E]; one expert gets next to nothing."""
    g = torch.Generator().manual_seed(0)
    n = steps * rows
    logits = torch.randn(n, len(TASKS), EXPERTS, generator=g, dtype=torch.float64)
    if dead is not None:
        logits[..., dead] -= 9.0
    return {"x": torch.randn(n, 4, generator=g, dtype=torch.float64), "logits": logits}
