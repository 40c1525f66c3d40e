"""Surgery on complex parameters is that on their real and imaginary parts side by side."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from fitting import LEVELS, NAMED, fit
from foreign import Foreign, Manual, batch
from spectral import Spectral, SpectralReal
from surgery_cases import case, compare
from torch import Tensor, nn

from mtlzoo.callbacks import GradientSurgery, rules


class ManualSpectral(Spectral, Manual):
    """In manual optimisation."""


class ManualReal(SpectralReal, Manual):
    """In manual optimisation."""


def compare_forms(
    make: Any, forms: tuple[type[Foreign], type[Foreign]] = (Spectral, SpectralReal), **fitting: Any
) -> None:
    """Trains both forms of a module and compares what their optimisers got."""
    seen: list[list[dict[str, Tensor]]] = []
    for form in forms:
        torch.manual_seed(0)
        module = form()
        torch.manual_seed(3)
        fit(module, make(), **({"steps": 3} | fitting))
        seen.append(module.seen)
    assert len(seen[0]) == len(seen[1])
    for got, wanted in zip(*seen, strict=True):
        assert set(got) == set(wanted)
        for name, gradient in got.items():
            found = torch.view_as_real(gradient) if gradient.is_complex() else gradient
            torch.testing.assert_close(found, wanted[name], rtol=1e-9, atol=1e-12, msg=partial(NAMED, name))


@pytest.mark.parametrize("forms", [(Spectral, SpectralReal), (ManualSpectral, ManualReal)])
@pytest.mark.parametrize("level", ["model", "parameter"])
@pytest.mark.parametrize("rule", [rules.UPGrad, rules.GradDrop, rules.MoCo, rules.MetaBalance])
def test_equals_the_real_form(forms: Any, level: Any, rule: Any) -> None:
    if level != "model" and rule is rules.MoCo:
        pytest.skip("has no level")
    compare_forms(lambda: GradientSurgery(rule(), level=level), forms)


@pytest.mark.parametrize("options", [{"accumulate_grad_batches": 2}, {"precision": "64-true"}])
def test_equals_the_real_form_in_other_trainings(options: dict[str, Any]) -> None:
    compare_forms(lambda: GradientSurgery(rules.UPGrad()), **options)


@pytest.mark.parametrize("options", [{"every_n_steps": 2}, {"at": "representation", "modules": ["trunk"]}])
def test_equals_the_real_form_where_weights_come_first(options: dict[str, Any]) -> None:
    compare_forms(lambda: GradientSurgery(rules.MGDA(), **options))


def test_rows_of_a_complex_table_are_groups() -> None:
    torch.manual_seed(0)
    module = Spectral()
    surgery = GradientSurgery(rules.UPGrad(), level="row", tables=["table"])
    losses = module.double().losses(batch())
    found = [torch.view_as_real(torch.autograd.grad(one, module.of("table"), retain_graph=True)[0]) for one in losses]
    rows = torch.stack(found, 1).flatten(2)
    weights = rules.UPGrad()(rows @ rows.mT)
    fit(module, surgery)
    wanted = torch.einsum("ut,utd->ud", weights, rows).view(20, 6, 2)
    torch.testing.assert_close(torch.view_as_real(module.seen[0]["table"]), wanted, rtol=1e-9, atol=1e-12)


class ComplexTrunk(nn.Module):
    """A layer that returns complex numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Parameter(torch.randn(5, 6, dtype=torch.complex128))

    def forward(self, x: Tensor) -> Tensor:
        return x.to(torch.complex128) @ self.layer


class ComplexOutput(Foreign):
    """The representation is complex."""

    def build(self) -> None:
        super().build()
        self.trunk = ComplexTrunk()  # type: ignore[assignment]

    def outputs(self, batch: Any) -> list[Tensor]:
        z = self.trunk(batch["x"])
        parts = (z.real, z.imag, z.abs())
        return [head(part).squeeze(1) for head, part in zip(self.heads, parts, strict=True)]


def test_the_gramian_of_a_complex_representation() -> None:
    torch.manual_seed(0)
    module = ComplexOutput()
    kept: list[Tensor] = []
    handle = module.trunk.register_forward_hook(lambda m, i, z: kept.append(z))
    losses = module.double().losses(batch())
    handle.remove()
    found = [torch.view_as_real(torch.autograd.grad(one, kept[0], retain_graph=True)[0]).flatten() for one in losses]
    surgery = GradientSurgery(rules.MGDA(), at="representation", modules=["trunk"])
    fit(module, surgery)
    assert surgery.gramians is not None
    torch.testing.assert_close(surgery.gramians[0], torch.stack(found) @ torch.stack(found).T)


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path: Path) -> None:
    kinds: list[dict[str, Any]] = [{}, {"at": "representation"}, {"every_n_steps": 2}]
    cases = [case("UPGrad", level, sparse=False, model="Spectral") for level in LEVELS]
    cases += [case("MGDA", "model", sparse=False, model="Spectral") | kind for kind in kinds]
    compare(tmp_path, 2, [one | {"arguments": {}, "steps": 12} for one in cases])
