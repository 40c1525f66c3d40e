"""The callbacks in projects that import `pytorch_lightning`: the code of `lightning`, in a package of another name."""

from pathlib import Path
from typing import Any

import lightning
import polars as pl
import pytest
import pytorch_lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mtlzoo.callbacks import (
    FAMO,
    UW,
    CAGrad,
    ConflictMonitor,
    EmbeddingMonitor,
    GateMonitor,
    GradientSurgery,
    LossBalancing,
    ParquetPredictions,
    PCGrad,
    StepCost,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


def module(package: Any, manual: bool) -> Any:
    """Two tasks on a table and a layer, by the base class of either package."""

    class Foreign(package.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = not manual
            self.table = nn.Embedding(6, 4)
            self.trunk = nn.Linear(4, 4)
            self.gate = nn.Softmax(-1)
            self.heads = nn.ModuleList(nn.Linear(4, 1) for _ in range(2))

        def forward(self, ids: Tensor) -> list[Tensor]:
            h = self.trunk(self.table(ids)).tanh()
            h = h * self.gate(h)
            return [head(h).squeeze(1) for head in self.heads]

        def task_losses(self, ids: Tensor) -> Tensor:
            first, second = self(ids)
            return torch.stack([(first - 1).square().mean(), 3 * (second + ids).square().mean()])

        def training_step(self, batch: Tensor, batch_idx: int) -> Any:
            if not manual:
                return {"loss": self.task_losses(batch)}
            optimizer = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(self.task_losses(batch))
            optimizer.step()
            return None

        def predict_step(self, batch: Tensor, batch_idx: int) -> dict[str, Tensor]:
            first, second = self(batch)
            return {"row": batch, "first": first, "second": second}

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=0.05)

    torch.manual_seed(0)
    return Foreign()


def trainer(package: Any, folder: Path, *callbacks: Any, **more: Any) -> Any:
    options: dict[str, Any] = {"accelerator": "cpu", "devices": 1, "max_epochs": 2, "log_every_n_steps": 1}
    options |= dict.fromkeys(["logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"], False)
    return package.Trainer(callbacks=list(callbacks), **options | {"default_root_dir": folder} | more)


def rows(number: int) -> DataLoader[Any]:
    ids: Any = torch.arange(number) % 6
    return DataLoader(ids, batch_size=4)


def trained(package: Any, folder: Path, manual: bool, *callbacks: Any, **more: Any) -> dict[str, Tensor]:
    there: Any = module(package, manual)
    trainer(package, folder, *callbacks, **more).fit(there, rows(12))
    state: dict[str, Tensor] = there.state_dict()
    return state


@pytest.mark.parametrize("manual", [False, True], ids=["automatic", "manual"])
@pytest.mark.parametrize(
    "callback",
    [
        lambda: GradientSurgery(PCGrad(order="fixed")),
        lambda: GradientSurgery(CAGrad(), level="row"),
        lambda: LossBalancing(UW()),
        lambda: LossBalancing(FAMO()),
    ],
    ids=["PCGrad", "CAGrad by row", "UW", "FAMO"],
)
def test_trains_to_the_same_bits(callback: Any, manual: bool, tmp_path: Path) -> None:
    one = trained(lightning, tmp_path, manual, callback())
    other = trained(pytorch_lightning, tmp_path, manual, callback())
    assert one.keys() == other.keys()
    assert all(one[name].equal(other[name]) for name in one)


@pytest.mark.parametrize("package", [lightning, pytorch_lightning])
def test_monitors_log(package: Any, tmp_path: Path) -> None:
    surgery, cost = GradientSurgery(PCGrad()), StepCost(every_n_steps=2)
    logger = (lightning.pytorch if package is lightning else package).loggers.CSVLogger
    monitors = [ConflictMonitor(every_n_steps=1), GateMonitor(2, ["gate"]), EmbeddingMonitor(), cost]
    trained(package, tmp_path, False, surgery, *monitors, logger=logger(tmp_path))
    (folder,) = (tmp_path / "lightning_logs").iterdir()
    assert pl.read_csv(folder / "conflicts.csv").height == 6
    assert pl.read_csv(folder / "gates.csv").height == 12
    assert pl.read_csv(folder / "embeddings.csv")["table"].to_list() == ["table"] * 3
    assert sorted(path.name for path in folder.glob("*.png")) == [
        *("conflicts-epoch0.png", "conflicts-epoch1.png", "conflicts.png", "embeddings.png", "gates.png"),
    ]
    logged = pl.read_csv(folder / "metrics.csv")
    assert {"gates/gates/gate/entropy", "embeddings/table/collapse"} <= set(logged.columns)
    assert {"surgery/cosine/0_vs_1", "cost/backward_share", "cost/rows_per_second"} <= set(logged.columns)


def test_knows_the_runs_of_wandb_by_either_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    logger = pytorch_lightning.loggers.WandbLogger(project="theirs", save_dir=tmp_path)
    trained(pytorch_lightning, tmp_path, False, GradientSurgery(PCGrad()), ConflictMonitor(), logger=logger)
    (table,) = tmp_path.rglob("conflicts.csv")
    assert table.parent.name == logger.experiment.id
    logger.experiment.finish()


def test_predicts_to_the_same_rows(tmp_path: Path) -> None:
    ids = pl.DataFrame({"item": range(6)})
    for package in (lightning, pytorch_lightning):
        writer = ParquetPredictions(tmp_path / package.__name__, lambda: ids)
        trainer(package, tmp_path, writer).predict(module(package, False), rows(6), return_predictions=False)
    one, other = (pl.read_parquet(tmp_path / package.__name__) for package in (lightning, pytorch_lightning))
    assert one.height == 6
    assert one.equals(other)
