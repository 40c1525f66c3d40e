"""`ColdStartReport`: the test metrics of users and items by how often train has them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.loggers import WandbLogger
from torch import Tensor, nn

from mtlzoo.analysis.cold_start import EDGES, MAIN, BucketMetrics, bucket_names, buckets_of, count_rows
from mtlzoo.analysis.cold_start_table import log, publish
from mtlzoo.callbacks.described import described

COLUMNS = ("side", "bucket", "task", "metric", "value", "rows")


class ColdStartReport(L.Callback):
    """Reports, at test, the main metric of every task on users and on items that train has no, few or many rows of.

    The main metric is AUC of a binary task, RMSE of a regression, accuracy of a multiclass task, micro F1 of a
    multilabel one; rankings and links have none. Writes ``cold_start.csv`` and ``cold_start.png`` into the run folder
    (the Trainer's ``default_root_dir``), prints the table, and logs table and picture to W&B where that is a logger.
    ``mtlzoo compare-cold-start`` puts several runs side by side::

        mtlzoo test -c RUN/config.yaml --ckpt_path best --trainer.callbacks+=ColdStartReport

    Needs a module with a `schema` and a data module with ``data["train"]``, as all of mtlzoo have.

    Args:
        edges: Upper bounds, inclusive, of the buckets of rows of train; the last bucket has none.
        interaction: Binary task whose label is 0 in rows that never happened (sampled negatives), which are not
            counted; without a task of that name all rows of train count.

    Raises:
        ValueError: Edges that are no rising whole numbers from 0.
    """

    __repr__ = described

    def __init__(self, edges: Sequence[int] = EDGES, interaction: str = "interaction") -> None:
        self.edges, self.interaction = tuple(edges), interaction
        self.names = bucket_names(edges)
        self._bucket_of: dict[str, tuple[int, Tensor]] = {}
        self._metrics: dict[str, dict[str, BucketMetrics]] = {}
        self._logits: Any = None
        self._hook: Any = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Refuses, before a test, what it can't report on."""
        if stage != "test":
            return
        schema = getattr(pl_module, "schema", None)
        if schema is None or not hasattr(getattr(trainer, "datamodule", None), "data"):
            raise ValueError(
                "ColdStartReport needs a model and a data module of mtlzoo: trainer.test(model, datamodule=data)."
            )
        if schema.user is None and schema.item is None:
            raise ValueError("ColdStartReport: the data name neither user nor item. Say which features they are.")

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Counts the rows of train, and listens to what the model says of batches."""
        schema: Any = pl_module.schema
        train = trainer.datamodule.data["train"]  # type: ignore[attr-defined]  # set by Lightning
        made_up = {task.name: place for task, place in schema.label_columns if task.kind == "binary"}
        place = made_up.get(self.interaction)
        happened = None if place is None else train["labels"][:, place.start]
        for side, name in (("user", schema.user), ("item", schema.item)):
            if name is None:
                continue
            column = [feature.name for feature in schema.categorical].index(name)
            counts = count_rows(train["categorical"][:, column], schema.categorical[column].cardinality, happened)
            self._bucket_of[side] = column, buckets_of(counts, self.edges).to(pl_module.device)
            tasks = [task for task in schema.tasks if task.kind in MAIN]
            self._metrics[side] = {
                task.name: BucketMetrics(task, len(self.names)).to(pl_module.device) for task in tasks
            }
        self._hook = pl_module.register_forward_hook(self._listen)

    def on_test_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, *_: Any, **__: Any
    ) -> None:
        """Adds the rows of a batch."""
        logits, self._logits = self._logits, None
        if logits is None or "labels" not in batch:
            return  # users whose items are ranked
        schema: Any = pl_module.schema
        for side, (column, bucket_of) in self._bucket_of.items():
            buckets = bucket_of[batch["categorical"][:, column].long()]
            for task, place in schema.label_columns:
                if task.kind in MAIN:
                    labels = batch["labels"][:, place]
                    self._metrics[side][task.name].update(buckets, logits[task.name], labels, batch.get("weight"))

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes, prints and logs the table."""
        self._stop()
        table = [
            dict(zip(COLUMNS, (side, bucket, name, MAIN[metrics.task.kind], value, rows), strict=True))
            for side, tasks in self._metrics.items()
            for name, metrics in tasks.items()
            for bucket, (value, rows) in zip(self.names, metrics.compute(), strict=True)
        ]
        self._metrics, self._bucket_of = {}, {}
        if trainer.is_global_zero and not trainer.sanity_checking:
            figure = publish(table, Path(trainer.default_root_dir), "cold_start")
            for logger in trainer.loggers:
                if isinstance(logger, WandbLogger):
                    log(logger.experiment, table, figure)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Stops listening."""
        self._stop()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Stops listening."""
        self._stop()

    def _listen(self, module: nn.Module, inputs: Any, logits: Any) -> None:
        self._logits = logits

    def _stop(self) -> None:
        if self._hook is not None:
            self._hook.remove()
        self._hook = self._logits = None
