"""What a terminal shows of a run: a bar of one line, and the size of the model."""

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import RichProgressBarTheme
from lightning.pytorch.utilities import rank_zero_info
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeRemainingColumn

from mtlzoo.module import MultiTaskModule


class OneLineBar(RichProgressBar):
    """Lightning's bar in 80 columns: epoch, batches, time left, train loss and the score that decides."""

    def __init__(self) -> None:
        super().__init__(theme=RichProgressBarTheme(metrics_format=".4f"))

    def configure_columns(self, trainer: L.Trainer) -> list[ProgressColumn]:
        """The columns before the metrics."""
        return [TextColumn("{task.description}"), BarColumn(8), MofNCompleteColumn(), TimeRemainingColumn(compact=True)]

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        """Metrics that the model logs for the bar; the version of a logger says nothing here."""
        metrics: dict[str, Any] = super().get_metrics(trainer, pl_module)
        return {name: value for name, value in metrics.items() if name != "v_num"}


class RunSize(L.Callback):
    """Two lines when a training starts: how large the model is, and an epoch."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Prints the number of weights in embedding tables and in the rest, and what an epoch has."""
        assert isinstance(pl_module, MultiTaskModule)
        tables = sum(table.numel() for table in pl_module.tables().values())
        dense = sum(parameter.numel() for parameter in pl_module.parameters()) - tables
        loader: Any = trainer.train_dataloader
        rows: int = loader.batch_size
        rank_zero_info(
            f"{type(pl_module).__name__}: {tables:,} weights in tables, {dense:,} in the network\n"
            f"Epoch: {trainer.num_training_batches:,} batches of {rows:,} rows"
        )
