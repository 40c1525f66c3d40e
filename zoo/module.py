"""`MultiTaskModule`: everything that a multi-task model is besides its network; here its options and optimisation."""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from typing import Any, ClassVar, TypeAlias

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from mtlzoo import parallel, precision
from mtlzoo.callbacks import collectives
from mtlzoo.constants import Constants, constant_buffers
from mtlzoo.layers import check_sizes
from mtlzoo.metrics import TaskMetrics
from mtlzoo.optim import DENSE, OptimizerName, RowOptimizer, Together, clip_gradients, dense_optimizer
from mtlzoo.schema import Batch, FeatureSchema
from mtlzoo.tasks import KINDS, VECTOR_KINDS, TaskKind
from mtlzoo.training.resumable import ResumableModule
from mtlzoo.training.schedules import SCHEDULES, Schedule, check_end, rate_factor, total_steps
from mtlzoo.training.train_losses import TrainLosses

Schema: TypeAlias = FeatureSchema | dict[str, Any]
"""A schema, or what its `to_dict` gives, as checkpoints hold it."""


class MultiTaskModule(Constants, ResumableModule):
    """Base class: losses per task, manual optimisation, metrics, schedules. A model adds the network and `forward`.

    The optimisation is manual and lives here alone: `training_step` builds the vector of the tasks' losses and calls
    ``self.manual_backward(losses)``, which by itself descends their sum; a callback may take over `backward`. One step
    of the optimiser per batch, so ``trainer.global_step`` counts batches.

    Args:
        schema: Features and tasks of the data set.
        optimizer: Update rule of all weights. Dense ones run torch's fused kernels.
        lr: Learning rate.
        weight_decay: Decay of the dense weights; AdamW decouples it.
        sparse: Tables get gradients of the touched rows only, and an optimiser that touches no other (`RowOptimizer`).
        table_optimizer: Update rule of the embedding tables; `optimizer` if None.
        table_lr: Learning rate of the embedding tables; `lr` if None.
        table_weight_decay: Decay of the embedding tables; with `sparse` of touched rows only.
        clip_norm: Largest joint L2 norm of all gradients, dense and sparse; None does not clip. (The STEM repository
            and FuxiCTR clip at 10.)
        accumulate: Micro-batches that a batch is cut into to save memory. `batch_size` stays the size of a step: the
            result is that of the whole batch, missing labels included.
        schedule: Learning rate over the training: ``constant``, ``linear`` or ``cosine`` to 0 at the last step, or
            ``plateau`` (a tenth when the validation score has not improved for an epoch).
        warmup_steps: Steps over which the rate rises linearly to its start.

    Raises:
        ValueError: An option out of range, with the allowed ones.
    """

    task_kinds: ClassVar[frozenset[TaskKind]] = frozenset(KINDS) - VECTOR_KINDS
    """Kinds of task that the model learns."""

    constants = ("task_weights",)
    sums_losses: ClassVar[bool] = True
    """`backward` is no more than the sum of the losses: a callback may take its place."""

    def __init__(
        self,
        schema: Schema,
        *,
        optimizer: OptimizerName = "adam",
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        sparse: bool = False,
        table_optimizer: OptimizerName | None = None,
        table_lr: float | None = None,
        table_weight_decay: float = 0.0,
        clip_norm: float | None = None,
        accumulate: int = 1,
        schedule: Schedule = "constant",
        warmup_steps: int = 0,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.schema = FeatureSchema.from_dict(schema)
        if others := {task.name: task.kind for task in self.schema.tasks if task.kind not in self.task_kinds}:
            raise ValueError(
                f"{type(self).__name__} does not learn the tasks {others}; it learns {sorted(self.task_kinds)}. Choose "
                "other tasks=, or a model for these (PMTRec learns rankings, links and alignments)."
            )
        for name, chosen in (("optimizer", optimizer), ("table_optimizer", table_optimizer or optimizer)):
            if chosen not in DENSE:
                raise ValueError(f"{name}={chosen!r}; allowed are {sorted(DENSE)}.")
        if schedule not in SCHEDULES or (schedule == "plateau" and warmup_steps):
            raise ValueError(
                f"schedule={schedule!r}, warmup_steps={warmup_steps}; allowed are 'constant', 'linear', 'cosine' and, "
                "without warm-up, 'plateau'."
            )
        if accumulate < 1 or warmup_steps < 0 or (clip_norm is not None and not clip_norm > 0):
            raise ValueError(
                f"accumulate={accumulate}, warmup_steps={warmup_steps}, clip_norm={clip_norm}; "
                "allowed are accumulate >= 1, warmup_steps >= 0, clip_norm > 0 or None."
            )
        rates = {"lr": lr, "weight_decay": weight_decay, "table_lr": table_lr, "table_weight_decay": table_weight_decay}
        if wrong := {name: rate for name, rate in rates.items() if rate is not None and not 0 <= rate < math.inf}:
            raise ValueError(f"{wrong}; allowed are finite numbers >= 0.")
        self.optimizer = optimizer
        self.lr = lr
        self.weight_decay = weight_decay
        self.sparse = sparse
        self.table_optimizer = table_optimizer or optimizer
        self.table_lr = lr if table_lr is None else table_lr
        self.table_weight_decay = table_weight_decay
        self.clip_norm = clip_norm
        self.accumulate = accumulate
        self.schedule = schedule
        self.warmup_steps = warmup_steps
        self.save_hyperparameters(logger=False)
        check_sizes(type(self).__name__, self.hparams)
        # Plain, so that a checkpoint loads with weights_only=True in a process that knows nothing of us.
        self.hparams["schema"] = self.schema.to_dict()
        grouped = self.schema.group is not None
        self.evaluation = nn.ModuleList(TaskMetrics(task, grouped=grouped) for task in self.schema.tasks)
        dtype = torch.promote_types(torch.get_default_dtype(), torch.float32)
        weights = torch.tensor([task.weight for task in self.schema.tasks], dtype=dtype)
        self.task_weights: Tensor
        self.register_buffer("task_weights", weights, persistent=False)
        self.accumulating = False
        """Whether more micro-batches of this step follow; callbacks that take over `backward` wait for the last."""
        self._remedy = (
            f"Lower lr={lr}, set clip_norm, or look for extreme values among the numeric features and labels."
        )
        self._losses = TrainLosses(self.task_names, self._remedy)
        self._total_steps = 0

    # ---- training

    def losses(self, logits: Mapping[str, Tensor], batch: Batch, observed: Tensor) -> list[Tensor]:
        """Weighted loss of every task, T scalars: means over the rows that observe it.

        Args:
            logits: What `forward` returned.
            batch: With ``labels`` and, where the data have them, ``weight``.
            observed: Rows (or sum of weights) that observe each task, [T], as `count_observed` gives them; under DDP
                those of the global batch per process, so that the processes' mean is the global mean.
        """
        rows = [
            task.row_losses(logits[task.name], batch["labels"][:, columns])[0]
            for task, columns in self.schema.label_columns
        ]
        return self.mean_losses(rows, batch, observed)

    def mean_losses(self, rows: Iterable[Tensor], batch: Batch, observed: Tensor) -> list[Tensor]:
        """Weighted loss of every task, T scalars, of the losses of its rows, [B] each, 0 where not observed."""
        weight = batch.get("weight")
        scales = (self.task_weights / observed).unbind()
        return [
            (each.sum() if weight is None else each @ weight.to(each.dtype)) * scale
            for each, scale in zip(rows, scales, strict=True)
        ]

    def batch_losses(self, batch: Batch, observed: Tensor) -> list[Tensor]:
        """Weighted loss of every task on a batch of train, T scalars; `observed` as for `losses`."""
        return self.losses(self(batch), batch, observed)

    def observed(self, batch: Batch) -> Tensor:
        """Which rows observe each task: bool [B, T]."""
        known = ~batch["labels"].isnan()
        return torch.stack([known[:, columns].any(1) for _, columns in self.schema.label_columns], 1)

    def count_observed(self, batch: Batch) -> Tensor:
        """Rows that observe each task, or the sum of their weights, [T]: mean over processes, 1 where nobody does."""
        masks = self.observed(batch)
        counts = masks.sum(0) if "weight" not in batch else (masks * batch["weight"].unsqueeze(1)).sum(0)
        counts = collectives.mean(counts.to(self.task_weights.dtype))
        return torch.where(counts > 0, counts, 1.0)

    def task_losses(self, batch: Batch) -> Tensor:
        """Losses of the tasks on one batch as `training_step` hands them on, [T]: for rules that look at it twice."""
        return torch.stack(self.batch_losses(batch, self.count_observed(batch)))

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One step of the optimiser on one batch."""
        self._step(batch)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _step(self, batch: Batch) -> None:
        """The step; where the module is compiled, its network is, and not what optimisers, callbacks and logs do."""
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)
        optimizer.zero_grad()
        observed = self.count_observed(batch)
        total = torch.zeros_like(self.task_weights)
        for micro_batch, last in self._micro_batches(batch):
            self.accumulating = not last
            with nullcontext() if last or collectives.world_size() == 1 else self.trainer.model.no_sync():  # type: ignore[union-attr,operator]
                losses = torch.stack(self.batch_losses(micro_batch, observed))
                self.manual_backward(losses)
            total += losses.detach()
        if self.sparse:
            parallel.mean_sparse_gradients(self.tables().values())
        optimizer.step()
        schedule = self.lr_schedulers()
        if isinstance(schedule, LRScheduler) and not isinstance(schedule, ReduceLROnPlateau):
            schedule.step()
        self._record(total)

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Descends the sum of the losses, [T]."""
        loss.sum().backward(*args, **kwargs)

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
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by a connector
        regular = every and trainer.global_step % every == 0
        if not regular and not (every and trainer.is_last_batch and self._losses.steps > trainer.fit_loop.batch_idx):
            return
        means = self._losses.means(trainer.global_step)
        self._losses.clear()
        values = {"train/loss": sum(means.values())} | {f"train/{name}/loss": mean for name, mean in means.items()}
        for name, value in values.items():
            self.log(name, value, prog_bar=name == "train/loss")
        if not regular:  # Lightning hands nothing to its loggers at such a step
            step = trainer.fit_loop.epoch_loop._batches_that_stepped
            for logger in trainer.loggers:
                logger.log_metrics({**values, "epoch": trainer.current_epoch}, step=step)
                logger.save()

    @property
    def _scaled(self) -> bool:
        return getattr(self.trainer.precision_plugin, "scaler", None) is not None

    def on_train_epoch_end(self) -> None:
        """Looks for losses that are not finite; Lightning comes here also where a training stops within an epoch."""
        self._losses.means(self.trainer.global_step)

    @property
    def task_names(self) -> list[str]:
        """Names of the tasks, in the order of the losses; callbacks that weigh tasks read them."""
        return [task.name for task in self.schema.tasks]

    @property
    def shared_modules(self) -> list[str]:
        """Names of the modules whose outputs the tasks share, for surgery at the representation."""
        return []

    # ---- several processes

    def tables(self) -> dict[str, Tensor]:
        """Weights of all embedding tables, by parameter name."""
        return {
            f"{name}.weight": module.weight
            for name, module in self.named_modules()
            if isinstance(module, nn.Embedding | nn.EmbeddingBag)
        }

    def setup(self, stage: str) -> None:
        """Meets the data, and takes away from DDP what is not for it: constants and sparse tables.

        The constants it would send with every forward; of sparse tables its reducer makes dense ones or (NCCL) fails.

        Raises:
            ValueError: Data that mean something else than those of the training; nothing is left for DDP, or a
                schedule has no last step.
        """
        super().setup(stage)
        precision.keep_exact(self)
        if stage == "fit":
            check_end(self.schedule, self.trainer.max_epochs, self.trainer.max_steps)
        self._ddp_params_and_buffers_to_ignore = constant_buffers(self)
        if not self.sparse:
            return
        tables = self.tables()
        trained = [name for name, parameter in self.named_parameters() if parameter.requires_grad]
        if self.trainer.world_size > 1 and set(trained) <= set(tables):
            raise ValueError(
                f"{type(self).__name__}: sparse=True in {self.trainer.world_size} processes, and nothing but tables to "
                "train, which DDP does not wrap. Leave sparse out, or train in one process."
            )
        self._ddp_params_and_buffers_to_ignore += tables

    def teardown(self, stage: str) -> None:
        """Leaves the trainer as it was."""
        super().teardown(stage)
        precision.give_back(self)

    def on_fit_start(self) -> None:
        """Starts every process from the same tables, as DDP does for the rest."""
        super().on_fit_start()
        if self.sparse:
            collectives.agree(self.tables().values())

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Lets the step begin with the first process's buffers."""
        collectives.send_buffers(self.trainer.strategy.model)

    def on_validation_start(self) -> None:
        """Lets the validation begin with the first process's buffers."""
        super().on_validation_start()
        collectives.send_buffers(self.trainer.strategy.model)

    def on_train_end(self) -> None:
        """Gives every process the buffers of the first: a test that follows has no DDP to do so."""
        constant = set(constant_buffers(self))
        collectives.agree(buffer for name, buffer in self.named_buffers() if name not in constant)

    # ---- optimisers

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
