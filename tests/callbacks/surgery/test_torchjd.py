"""Weightings of torchjd as rules: what they make of the Gramian is what the parameters get."""

from collections.abc import Callable
from functools import partial
from typing import Any

import lightning as L
import pytest
import torch
import torchjd.aggregation
from chosen_device import ACCELERATOR
from foreign import Foreign, batch
from reference import expected, jacobian
from torch import Tensor
from torch.utils.data import DataLoader
from torchjd.aggregation import Weighting

from mtlzoo.callbacks import GradientSurgery

NAMES = [name for name in torchjd.aggregation.__all__ if name.endswith("Weighting") and name != "Weighting"]
NOT_FOR_US = {
    "CAGradWeighting": "needs cvxpy and clarabel, which the tests do without",
    "ExcessMTLWeighting": "takes the gradients, not their Gramian",
}
ARGUMENTS: dict[str, Callable[[], dict[str, Any]]] = {
    "ConstantWeighting": lambda: {"weights": torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)},
    "CRMOGMWeighting": lambda: {"weighting": torchjd.aggregation.PCGradWeighting()},
    "FairGradWeighting": lambda: {"alpha": 1.0},
    "KrumWeighting": lambda: {"n_byzantine": 0},
}


def build(name: str) -> Weighting[Tensor]:
    weighting: Weighting[Tensor] = getattr(torchjd.aggregation, name)(**ARGUMENTS.get(name, dict)())
    return weighting


def seeded(rule: Callable[[Tensor], Tensor], gramian: Tensor) -> Tensor:
    """With the same random numbers in every call, wherever it is called from."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return rule(gramian)


def train(rule: Callable[[Tensor], Tensor], steps: int) -> tuple[GradientSurgery, Foreign]:
    surgery, module = GradientSurgery(rule), Foreign()
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    options: dict[str, Any] = {"max_epochs": 1, "accelerator": ACCELERATOR, "precision": "64-true"} | dict.fromkeys(
        quiet, False
    )
    trainer = L.Trainer(**options, callbacks=[surgery])
    data: Any = DataLoader([batch(seed=seed) for seed in range(steps)], batch_size=None)  # type: ignore[arg-type]
    trainer.fit(module, data)
    return surgery, module


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.parametrize("name", [name for name in NAMES if name not in NOT_FOR_US])
def test_weighs_the_gradients(name: str) -> None:
    torch.manual_seed(0)
    surgery, module = train(partial(seeded, build(name)), steps=1)
    torch.manual_seed(0)
    start = Foreign().double()
    parameters = dict(start.named_parameters())
    found = jacobian(start.losses(batch()), parameters)
    wanted = expected(found, parameters, [], partial(seeded, build(name)), "model")
    assert wanted.keys() == module.seen[0].keys()
    for parameter, gradient in wanted.items():
        torch.testing.assert_close(module.seen[0][parameter], gradient, rtol=1e-9, atol=1e-12)
    assert surgery.weights is not None
    assert surgery.weights.dtype == torch.float64


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_keeps_its_state_from_step_to_step() -> None:
    calls: list[tuple[Tensor, Tensor]] = []
    weighting = build("GradVacWeighting")

    def rule(gramian: Tensor) -> Tensor:
        calls.append((gramian, seeded(weighting, gramian)))
        return calls[-1][1]

    train(rule, steps=3)
    alone = build("GradVacWeighting")
    assert len(calls) == 3
    for gramian, weights in calls:
        torch.testing.assert_close(seeded(alone, gramian), weights, rtol=0, atol=0)


def test_all_are_tried_or_named() -> None:
    assert len(NAMES) >= 18
    assert set(NOT_FOR_US) | set(ARGUMENTS) <= set(NAMES)
