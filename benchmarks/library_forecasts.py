"""Libraries that forecast series and solve equations, with their losses handed over: see `library_modules`."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from library_modules import QUIET, STEPS, Callbacks, fit
from torch import Tensor, nn


def _series() -> pd.DataFrame:
    steps = pd.date_range("2025-01-01", periods=60, freq="D")
    draw = np.random.default_rng(0)
    frames = [
        pd.DataFrame(
            {"unique_id": name, "ds": steps, "y": draw.normal(size=60), "y2": draw.normal(size=60), "time": range(60)}
        )
        for name in ("a", "b")
    ]
    return pd.concat(frames, ignore_index=True)


def pytorch_forecasting_lstm(handed_over: bool, callbacks: Callbacks) -> None:
    """Two series forecast at once, each with a loss of its own."""
    from pytorch_forecasting import TimeSeriesDataSet
    from pytorch_forecasting.metrics import MAE, SMAPE, MultiLoss
    from pytorch_forecasting.models import RecurrentNetwork

    class Apart(MultiLoss):  # type: ignore[misc]
        def forward(self, y_pred: Any, y_actual: Any, **kwargs: Any) -> Any:
            targets = zip(self.metrics, self.weights, y_pred, y_actual[0], strict=True)
            self.parts = torch.stack([weight * metric(p, (y, y_actual[1])) for metric, weight, p, y in targets])
            return self.parts.sum()

    class PerTask(RecurrentNetwork):  # type: ignore[misc]
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return super().training_step(batch, batch_idx) | {"losses": self.loss.parts}

    names = ["y", "y2"]
    rows = TimeSeriesDataSet(
        _series(),
        "time",
        names,
        ["unique_id"],
        max_encoder_length=8,
        max_prediction_length=2,
        time_varying_unknown_reals=names,
    )
    kind, loss = (PerTask, Apart) if handed_over else (RecurrentNetwork, MultiLoss)
    module = kind.from_dataset(rows, hidden_size=8, loss=loss([MAE(), SMAPE()]), logging_metrics=nn.ModuleList())
    fit(module, rows.to_dataloader(train=True, batch_size=8, shuffle=False), callbacks, precision="64-true")


def neuralforecast_nhits(handed_over: bool, callbacks: Callbacks) -> None:
    """Three quantiles of a series; the library is written on `pytorch_lightning`."""
    from neuralforecast import NeuralForecast
    from neuralforecast.losses.pytorch import MQLoss
    from neuralforecast.models import NHITS

    class Apart(MQLoss):  # type: ignore[misc]
        def _compute_weights(self, y: Tensor, mask: Tensor) -> Any:
            weights = super()._compute_weights(y, mask)
            self.parts = (y * weights).sum((0, 1, 2)) / weights.sum()
            return weights

    class PerTask(NHITS):  # type: ignore[misc]
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return {"loss": super().training_step(batch, batch_idx), "losses": self.loss.parts}

    kind, loss = (PerTask, Apart) if handed_over else (NHITS, MQLoss)
    model = kind(
        h=4,
        input_size=8,
        loss=loss(level=[80]),
        max_steps=STEPS,
        mlp_units=3 * [[16, 16]],
        windows_batch_size=16,
        callbacks=list(callbacks),
        precision="64-true",
        random_seed=0,
        **QUIET,
    )
    NeuralForecast([model], freq="D").fit(_series()[["unique_id", "ds", "y"]], val_size=0)


def pina_pinn(handed_over: bool, callbacks: Callbacks) -> None:
    """A differential equation and its boundary, a loss each."""
    from pina import Trainer
    from pina.model import FeedForward
    from pina.optim import TorchOptimizer
    from pina.problem.zoo import Poisson2DSquareProblem
    from pina.solver import PhysicsInformedSingleModelSolver
    from pina.weighting import ScalarWeighting

    class Apart(ScalarWeighting):  # type: ignore[misc]
        def update_weights(self, losses: dict[str, Tensor]) -> Any:
            self.losses = losses
            return super().update_weights(losses)

    class PerTask(PhysicsInformedSingleModelSolver):  # type: ignore[misc]
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return {"loss": super().training_step(batch, batch_idx), "losses": self.weighting.losses}

    problem = Poisson2DSquareProblem()
    problem.discretise_domain(20, "random")
    kind, weighting = (PerTask, Apart) if handed_over else (PhysicsInformedSingleModelSolver, ScalarWeighting)
    adam = TorchOptimizer(torch.optim.Adam, lr=0.05)  # soon the boundary is against the inside
    solver = kind(problem=problem, model=FeedForward(2, 1, inner_size=8), optimizer=adam, weighting=weighting(1.0))
    Trainer(solver, max_epochs=STEPS, callbacks=list(callbacks), precision="64-true", **QUIET).train()
