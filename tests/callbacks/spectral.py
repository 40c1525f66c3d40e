"""A foreign module with complex parameters, and the same with real ones."""

from typing import ClassVar

import torch
from foreign import TASKS, Batch, Foreign
from torch import Tensor, nn


class Spectral(Foreign):
    """Complex parameters, as in Fourier layers: a shared layer, a shared number, rows by index, and one of one task."""

    shared_modules: ClassVar[list[str]] = ["trunk"]

    def build(self) -> None:
        self.trunk = nn.Sequential(nn.Linear(5, 4))
        self.make("layer", 4, 6)
        self.make("table", 20, 6)
        self.make("phase")
        self.make("own", 6)
        self.heads = nn.ModuleList(nn.Linear(6, 1) for _ in range(TASKS))

    def make(self, name: str, *shape: int) -> None:
        self.register_parameter(name, nn.Parameter(0.3 * torch.randn(shape, dtype=torch.complex128)))

    def of(self, name: str) -> Tensor:
        return self.get_parameter(name)

    def outputs(self, batch: Batch) -> list[Tensor]:
        x = self.trunk(batch["x"]).to(torch.complex128)
        z = (x @ self.of("layer") + self.of("table")[batch["ids"][:, 0]]) * self.of("phase").conj()
        parts = [(z * self.of("own")).real, z.imag, (0.1 * z).abs()]
        return [head(part).squeeze(1) for head, part in zip(self.heads, parts, strict=True)]


class SpectralReal(Spectral):
    """The same with real and imaginary parts side by side as parameters."""

    def make(self, name: str, *shape: int) -> None:
        numbers = 0.3 * torch.randn(shape, dtype=torch.complex128)
        self.register_parameter(name, nn.Parameter(torch.view_as_real(numbers).clone()))

    def of(self, name: str) -> Tensor:
        return torch.view_as_complex(self.get_parameter(name))
