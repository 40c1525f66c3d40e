"""Modules of two networks: each has a vector of losses, or one of them a loss alone."""

from typing import Any

import torch
from foreign import Batch, Manual
from torch import Tensor, nn


class Two(Manual):
    """Two networks with a vector each; both backward passes before both steps, as in many GANs."""

    together, second = True, 3

    def build(self) -> None:
        super().build()
        self.other = nn.Linear(5, 6)
        self.other_heads = nn.ModuleList(nn.Linear(6, 1) for _ in range(self.second))

    def other_losses(self, batch: Batch) -> Tensor:
        h = self.other(batch["x"]).tanh()
        return torch.stack(
            [
                10.0**t * (head(h).squeeze(1) - batch["y"][:, t]).square().mean()
                for t, head in enumerate(self.other_heads)
            ]
        )

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        optimizers: Any = self.optimizers()
        first, second = optimizers
        first.zero_grad()
        second.zero_grad()
        losses, others = self.losses(batch), self.other_losses(batch)
        if self.together:
            self.manual_backward(losses)
            self.manual_backward(others)
            second.step()
            first.step()
        else:
            self.manual_backward(losses)
            first.step()
            self.manual_backward(others)
            second.step()

    def configure_optimizers(self) -> Any:
        one = [*self.trunk.parameters(), *self.heads.parameters()]
        other = [*self.other.parameters(), *self.other_heads.parameters()]
        return torch.optim.SGD(one, 0.01), torch.optim.SGD(other, 0.01)


class Critic(Two):
    """One loss alone for the second network."""

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        optimizers: Any = self.optimizers()
        for optimizer in optimizers:
            optimizer.zero_grad()
        self.manual_backward(self.losses(batch))
        self.manual_backward(self.other_losses(batch).sum())
        self.manual_backward(
            0.1 * self.get_parameter("trunk.0.weight").square().sum()
        )  # and a regulariser of what tasks share
        for optimizer in optimizers:
            optimizer.step()
