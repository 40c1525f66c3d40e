"""`OptimisedModule`: the one place where a model is trained, a batch at a time."""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from mtlzoo.callbacks import collectives
from mtlzoo.callbacks.lightning_seams import log_every_n_steps, logged_step, scaler_of
from mtlzoo.optim import OptimizerName, RowOptimizer, Together, clip_gradients, dense_optimizer
from mtlzoo.schema import Batch
from mtlzoo.training.distributed import DistributedModule, mean_sparse_gradients
from mtlzoo.training.schedules import Schedule, check_end, rate_factor, total_steps

Compiled: TypeAlias = Literal["none", "network"]


class OptimisedModule(DistributedModule):
    """Manual optimisation: the vector of losses, its descent, the step of all weights, the rate, and what is logged.

    The options are those of `MultiTaskModule`.
    """

    optimizer: OptimizerName
    lr: float
    weight_decay: float
    table_optimizer: OptimizerName
    table_lr: float
    table_weight_decay: float
    clip_norm: float | None
    accumulate: int
    schedule: Schedule
    warmup_steps: int
    compiled: Compiled

    sums_losses: ClassVar[bool] = True
    """`backward` is no more than the sum of the losses: a callback may take its place."""
    accumulating = False
    """Whether more micro-batches of this step follow; callbacks that take over `backward` wait for the last."""
    _total_steps = 0

    @abstractmethod
    def count_observed(self, batch: Batch) -> Tensor:
        """Rows of a batch that observe each task, [T], the mean over processes."""

    @abstractmethod
    def batch_losses(self, batch: Batch, counts: Tensor) -> list[Tensor]:
        """Weighted loss of every task on a batch, or a part of one, T scalars.

        Args:
            batch: The rows.
            counts: `count_observed` of the whole batch.
        """

    def setup(self, stage: str) -> None:
        """Meets the data.

        Raises:
            ValueError: As the base class, or a schedule has no last step.
        """
        super().setup(stage)
        if self.compiled == "network" and self._compiled_call_impl is None:
            self.compile()  # from the first call on
        if stage == "fit":
            check_end(self.schedule, self.trainer.max_epochs, self.trainer.max_steps)

    def configure_optimizers(self) -> Any:
        """One optimiser (of two parts: dense weights and tables) and its schedule."""
        tables = self.tables()
        dense = [p for name, p in self.named_parameters() if name not in tables and p.requires_grad]
        parts = [dense_optimizer(self.optimizer, dense, self.lr, self.weight_decay)] if dense else []
        rows = [p for p in tables.values() if p.requires_grad]
        if rows and self.sparse:
            parts.append(RowOptimizer(rows, self.table_optimizer, self.table_lr, self.table_weight_decay))
        elif rows:
            parts.append(dense_optimizer(self.table_optimizer, rows, self.table_lr, self.table_weight_decay))
        optimizer = Together(parts)
        if self.schedule == "plateau":
            return [optimizer], [ReduceLROnPlateau(optimizer, mode=self.monitor[1], factor=0.1, patience=0)]
        if self.schedule == "constant" and not self.warmup_steps:
            return optimizer
        return [optimizer], [LambdaLR(optimizer, self._rate_factor)]

    def _rate_factor(self, step: int) -> float:
        return rate_factor(step, self.schedule, self.warmup_steps, self._total_steps)

    def on_train_start(self) -> None:
        """Counts the steps to come, and goes on from a checkpoint if there was one."""
        if self.schedule in ("linear", "cosine"):
            # Not while the optimisers are made: asking opens the loaders before a checkpoint gives them their place,
            # and a resumed epoch would silently start again.
            self._total_steps = total_steps(self.trainer, self.schedule)
        super().on_train_start()

    # ---- a step

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One step of the optimiser on one batch."""
        self._step(batch)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _step(self, batch: Batch) -> None:
        """The step; where the module is compiled, its network is, and not what optimisers, callbacks and logs do."""
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)
        optimizer.zero_grad()
        counts = self.count_observed(batch)
        total = torch.zeros_like(counts)
        for micro_batch, last in self._micro_batches(batch):
            self.accumulating = not last
            with nullcontext() if last or collectives.world_size() == 1 else self.trainer.model.no_sync():  # type: ignore[union-attr,operator]
                losses = torch.stack(self.batch_losses(micro_batch, counts))
                self.manual_backward(losses)
            total += losses.detach()
        optimizer.step()
        schedule = self.lr_schedulers()
        if isinstance(schedule, LRScheduler) and not isinstance(schedule, ReduceLROnPlateau):
            schedule.step()
        self._record(total)

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Descends the sum of the losses, [T]; what DDP leaves out, this means over the processes after the last pass.

        Both at this place: a callback that takes it has means of its own, which nobody has to mean again.
        """
        loss.sum().backward(*args, **kwargs)
        if self.sparse and not self.accumulating:
            mean_sparse_gradients(list(self.tables().values()))

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clips; gradients are unscaled here also under fp16."""
        if self.clip_norm is not None:
            clip_gradients(self.parameters(), self.clip_norm)

    def _micro_batches(self, batch: Batch) -> Iterator[tuple[Batch, bool]]:
        if self.accumulate == 1:
            yield batch, True
            return
        # Not `chunk`, which makes fewer of some numbers of rows: processes with a row more or less would lose step.
        pieces = {name: column.tensor_split(self.accumulate) for name, column in batch.items()}
        for i in range(self.accumulate):
            yield {name: piece[i] for name, piece in pieces.items()}, i == self.accumulate - 1

    def _record(self, losses: Tensor) -> None:
        """Keeps sums on the device and logs their mean every `log_every_n_steps`: a log costs 0.5 ms a number.

        An epoch that is shorter logs once, at its end.
        """
        trainer = self.trainer
        self._losses.add(losses, scaled=self._scaled)
        every = log_every_n_steps(trainer)
        regular = every and trainer.global_step % every == 0
        if not regular and not (every and trainer.is_last_batch and self._losses.steps > trainer.fit_loop.batch_idx):
            return
        means = self._losses.means(trainer.global_step)
        self._losses.clear()
        values = {"train/loss": sum(means.values())} | {f"train/{name}/loss": mean for name, mean in means.items()}
        for name, value in values.items():
            self.log(name, value, prog_bar=name == "train/loss")
        if not regular:  # Lightning hands nothing to its loggers at such a step
            step = logged_step(trainer)
            for logger in trainer.loggers:
                logger.log_metrics({**values, "epoch": trainer.current_epoch}, step=step)
                logger.save()

    @property
    def _scaled(self) -> bool:
        return scaler_of(self.trainer) is not None

    def on_train_epoch_end(self) -> None:
        """Looks for losses that are not finite; Lightning comes here also where a training stops within an epoch."""
        self._losses.means(self.trainer.global_step)
