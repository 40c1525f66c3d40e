"""The quantiles of log-norms that surgery logs for rules that depend on lengths."""

import math
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from chosen_device import ACCELERATOR
from recommenders import TASKS, Recommender, TwoBatches, batch
from recorder import Recorder
from torch import Tensor
from torch.utils.data import DataLoader

from mtlzoo.callbacks import GradientSurgery, rules
from mtlzoo.callbacks.surgery.norm_log import log_norm_quantiles

NAMES = [f"surgery/log_norm/{task}/{q}" for task in TASKS for q in ("q10", "q50", "q90")]


def fit(module: Recommender, surgery: GradientSurgery, steps: int = 5, **options: Any) -> tuple[L.Trainer, Recorder]:
    off = ("enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    recorder = Recorder()
    trainer = L.Trainer(
        **(dict.fromkeys(off, False) | {"log_every_n_steps": 2} | options),
        max_epochs=1,
        accelerator=ACCELERATOR,
        precision="64-true",
        logger=recorder,
        callbacks=[surgery],
    )
    trainer.fit(module, DataLoader([batch(seed=s) for s in range(steps)], batch_size=None))  # type: ignore[arg-type]
    return trainer, recorder


def numpys(module: Recommender, step: int) -> dict[str, float]:
    """The quantiles of one step by numpy, from plain gradients by row."""
    twin = Recommender().double()
    _, data, weights, _ = module.steps[step]
    twin.load_state_dict(weights)
    values: dict[str, float] = {}
    for task, loss in zip(TASKS, twin.losses(data), strict=True):
        (gradient,) = torch.autograd.grad(loss, list(twin.parameters()), retain_graph=True)
        norms = gradient.norm(dim=1)
        found = np.quantile(np.log10(norms[norms > 0].cpu().numpy()), [0.1, 0.5, 0.9])
        values |= {f"surgery/log_norm/{task}/{q}": v for q, v in zip(("q10", "q50", "q90"), found, strict=True)}
    return values


@pytest.mark.parametrize("kind", [Recommender, TwoBatches])
def test_logs_quantiles_of_the_rows_that_a_task_touches(kind: type[Recommender]) -> None:
    module = kind()
    trainer, recorder = fit(module, GradientSurgery(rules.PMTRecRule("rating"), level="row"))
    assert [step for step, _ in recorder.of("surgery/")] == [1, 3]
    for step, values in recorder.of("surgery/"):
        if kind is Recommender:
            assert values == pytest.approx(numpys(module, step), rel=1e-9)
        assert list(values) == NAMES
    assert set(NAMES) <= set(trainer.callback_metrics)


def test_only_rules_that_depend_on_lengths_log_them() -> None:
    for rule in (rules.MetaBalance(), rules.PCD()):
        assert fit(Recommender(), GradientSurgery(rule, level="parameter"))[1].of("surgery/")
    for silent in (rules.PCGrad(), rules.NashMTL()):
        assert not fit(Recommender(), GradientSurgery(silent, level="row"))[1].of("surgery/")


def test_steps_between_logs_and_no_logs_at_all() -> None:
    rule = rules.PMTRecRule(alpha=1.0)
    assert [step for step, _ in fit(Recommender(), GradientSurgery(rule, every_n_steps=3), 8)[1].of("surgery/")] == [
        1,
        3,
        7,
    ]
    _, recorder = fit(Recommender(), GradientSurgery(rule, level="row"), accumulate_grad_batches=2, log_every_n_steps=1)
    assert [step for step, _ in recorder.of("surgery/")] == [0, 1, 2]
    assert not fit(Recommender(), GradientSurgery(rule), log_every_n_steps=0)[1].of("surgery/")


def test_a_task_without_gradient_is_not_logged() -> None:
    class Silent(Recommender):
        def losses(self, batch: dict[str, Tensor]) -> Tensor:
            return super().losses(batch) * torch.tensor([1.0, 0.0, 1.0, 1.0], device=self.device)

    _, recorder = fit(Silent(), GradientSurgery(rules.PMTRecRule(), level="row"))
    for _, values in recorder.of("surgery/"):
        assert list(values) == [name for name in NAMES if "alignment" not in name]


@pytest.mark.parametrize("groups", [1, 2, 7, 1000])
def test_quantiles_are_numpys(groups: int) -> None:
    shares = [0.0, 0.1, 0.5, 0.9, 1.0]
    rows = 10.0 ** torch.randint(-12, 13, (groups, 3, 1)) * torch.randn(groups, 3, 4, dtype=torch.float64)
    rows[torch.rand(groups, 3) < 0.3] = 0.0
    rows[0, :2] = 1.0
    rows[:, 2] = 0.0
    found = log_norm_quantiles(rows @ rows.mT, shares)
    for task in range(2):
        norms = rows[:, task].norm(dim=1)
        wanted = np.quantile(np.log10(norms[norms > 0].cpu().numpy()), shares)
        torch.testing.assert_close(found[task], torch.tensor(wanted), rtol=1e-12, atol=1e-12)
    assert found[2].isnan().all()


def test_what_is_not_finite_has_no_quantiles() -> None:
    gramians = torch.eye(2, dtype=torch.float64).repeat(3, 1, 1)
    for bad in (math.nan, math.inf):
        gramians[1, 0, 0] = bad
        assert log_norm_quantiles(gramians, [0.5]).isnan().squeeze(1).tolist() == [True, False]
