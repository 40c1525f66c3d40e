"""`MultiTaskModule`: everything that a multi-task model is besides its network; here its options and losses."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, TypeAlias, get_args

import torch
from torch import Tensor, nn

from mtlzoo.callbacks import collectives
from mtlzoo.callbacks.gates.names import GateNames
from mtlzoo.constants import Constants
from mtlzoo.layers import check_sizes
from mtlzoo.metrics import TaskMetrics
from mtlzoo.optim import DENSE, OptimizerName
from mtlzoo.pretrained import PretrainedModule
from mtlzoo.schema import Batch, FeatureSchema
from mtlzoo.tasks import KINDS, VECTOR_KINDS, TaskKind
from mtlzoo.training.optimised import Compiled
from mtlzoo.training.schedules import SCHEDULES, Schedule
from mtlzoo.training.train_losses import TrainLosses

Schema: TypeAlias = FeatureSchema | dict[str, Any]
"""A schema, or what its `to_dict` gives, as checkpoints hold it."""


class MultiTaskModule(Constants, PretrainedModule):
    """Base class: losses per task, manual optimisation, metrics, schedules. A model adds the network and `forward`.

    The optimisation is manual and lives in `OptimisedModule` alone: `training_step` builds the vector of the tasks'
    losses and calls ``self.manual_backward(losses)``, which by itself descends their sum; a callback may take over
    `backward`. One step of the optimiser per batch, so ``trainer.global_step`` counts batches.

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
        averaging: What is validated, kept and tested is an exponential moving average of the weights, of which this
            share stays in every step (from the first ones on less); .99 to .999 suit most data. 0 averages nothing.
        compile: ``network``: `torch.compile` makes kernels of the network; the result is the same up to rounding. The
            first batches take a minute or so, and again those of another number of rows.

    Raises:
        ValueError: An option out of range, with the allowed ones.
    """

    task_kinds: ClassVar[frozenset[TaskKind]] = frozenset(KINDS) - VECTOR_KINDS
    """Kinds of task that the model learns."""

    constants = ("task_weights",)

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
        averaging: float = 0.0,
        compile: Compiled = "none",
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
        if compile not in get_args(Compiled):
            raise ValueError(f"compile={compile!r}; allowed are {list(get_args(Compiled))}.")
        if accumulate < 1 or warmup_steps < 0 or (clip_norm is not None and not clip_norm > 0):
            raise ValueError(
                f"accumulate={accumulate}, warmup_steps={warmup_steps}, clip_norm={clip_norm}; "
                "allowed are accumulate >= 1, warmup_steps >= 0, clip_norm > 0 or None."
            )
        if not 0 <= averaging < 1:
            raise ValueError(f"averaging={averaging}; allowed are 0 <= averaging < 1.")
        rates = {"lr": lr, "weight_decay": weight_decay, "table_weight_decay": table_weight_decay}
        rates |= {} if table_lr is None else {"table_lr": table_lr}
        if wrong := {name: rate for name, rate in rates.items() if rate is None or not 0 <= rate < math.inf}:
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
        self.averaging = averaging
        self.compiled = compile
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
        self._remedy = (
            f"Lower lr={lr}, set clip_norm, or look for extreme values among the numeric features and labels."
        )
        self._losses = TrainLosses(self.task_names, self._remedy)

    # ---- losses

    def losses(self, logits: Mapping[str, Tensor], batch: Batch, counts: Tensor) -> list[Tensor]:
        """Weighted loss of every task, T scalars: means over the rows that observe it.

        Args:
            logits: What `forward` returned.
            batch: With ``labels`` and, where the data have them, ``weight``.
            counts: Rows (or sum of weights) that observe each task, [T], as `count_observed` gives them; under DDP
                those of the global batch per process, so that the processes' mean is the global mean.
        """
        rows = [
            task.row_losses(logits[task.name], batch["labels"][:, columns])[0]
            for task, columns in self.schema.label_columns
        ]
        return self.mean_losses(rows, batch, counts)

    def mean_losses(self, rows: Iterable[Tensor], batch: Batch, counts: Tensor) -> list[Tensor]:
        """Weighted loss of every task, T scalars, of the losses of its rows, [B] each, 0 where not observed."""
        weight = batch.get("weight")
        scales = (self.task_weights / counts).unbind()
        return [
            (each.sum() if weight is None else each @ weight.to(each.dtype)) * scale
            for each, scale in zip(rows, scales, strict=True)
        ]

    def batch_losses(self, batch: Batch, counts: Tensor) -> list[Tensor]:
        """Weighted loss of every task on a batch of train, T scalars; `counts` as for `losses`."""
        return self.losses(self(batch), batch, counts)

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

    @property
    def task_names(self) -> list[str]:
        """Names of the tasks, in the order of the losses; callbacks that weigh tasks read them."""
        return [task.name for task in self.schema.tasks]

    @property
    def shared_modules(self) -> list[str]:
        """Names of the modules whose outputs the tasks share, for surgery at the representation."""
        return []

    @property
    def gate_modules(self) -> dict[str, GateNames]:
        """Names of the modules that weigh experts, and what they are called, for `GateMonitor`."""
        return {}
