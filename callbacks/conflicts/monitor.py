"""`ConflictMonitor`: how far the tasks' gradients agree, from the Gramians that surgery has anyway."""

from itertools import combinations
from typing import Any

import lightning as L
from torch import Tensor

from mtlzoo.callbacks.conflicts.facts import ConflictMeans, facts_of_step
from mtlzoo.callbacks.described import described
from mtlzoo.callbacks.handover import task_names
from mtlzoo.callbacks.heat_map import heat_map
from mtlzoo.callbacks.lightning_seams import callbacks_of, log, logged_step, more_follows
from mtlzoo.callbacks.rules.base import GradientRule
from mtlzoo.callbacks.run_table import RunTable
from mtlzoo.callbacks.surgery import GradientSurgery

COLUMNS = ["step", "task_a", "task_b", "cosine", "conflict_rate"]


class ConflictMonitor(L.Callback):
    """Logs how the gradients of the tasks lie to each other, beside `GradientSurgery` and at its level.

    Every `every_n_steps` steps, and at the end of an epoch that had no such step, over the steps since the last time:

    * ``surgery/cosine/<a>_vs_<b>``: mean cosine of the two tasks' gradients of all shared parameters;
    * ``surgery/conflict/<a>_vs_<b>``: share of the groups (the whole, tensors, or rows: the surgery's level) in which
      it was below 0;
    * ``surgery/norm/<task>``: mean norm of the task's gradient of all shared parameters;
    * ``surgery/weight/<task>``: mean weight that the rule gave the task. Where groups have weights of their own, their
      mean by squared norm: the part of the task's own gradient that is left in its own direction.

    Steps and groups in which one of the tasks has no gradient don't count; what nothing counts for is not logged, and
    what surgery leaves the plain sum (``others="sum"``) is not seen. The cosines also go to ``conflicts.csv`` in the
    trainer's `log_dir` (columns `COLUMNS`; a resumed run goes on with its file), and their means over every epoch and
    over the whole training to pictures, ``conflicts-epoch<n>.png`` and ``conflicts.png`` there. A logger that takes
    images and tables (W&B) gets those instead, and the table at the end, as ``surgery/conflicts_epoch``,
    ``surgery/conflicts`` and ``surgery/conflict_table``.

    The sums stay on the device: a step costs a few operations on Gramians, and the host waits for them only every
    `every_n_steps` steps. Under DDP the Gramians are those of the global batch on all processes; the first alone
    writes. Steps in which surgery reuses weights have no Gramian and don't count.

    Args:
        every_n_steps: Steps between two logs.

    Raises:
        ValueError: No surgery to watch, or one whose rule needs no Gramian.
    """

    __repr__ = described

    def __init__(self, every_n_steps: int = 50) -> None:
        if every_n_steps < 1:
            raise ValueError(f"every_n_steps={every_n_steps}; allowed are numbers >= 1.")
        self.every_n_steps = every_n_steps
        self._surgery: GradientSurgery
        self._table = RunTable("conflicts", COLUMNS, ("task_a", "task_b"))
        self._seen: Tensor | None = None
        self._last = self._epoch = -1
        # Sums of `facts_of_step` since the last log, in this epoch, and in the whole training.
        self._sums: dict[str, Tensor | None] = {"log": None, "epoch": None, "fit": None}

    # ---- Lightning

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Finds the surgery."""
        if stage != "fit":
            return
        found = [callback for callback in callbacks_of(trainer) if isinstance(callback, GradientSurgery)]
        if not found:
            raise ValueError(
                "ConflictMonitor watches GradientSurgery, and there is none. Add one; GradientSurgery(Sum()) changes "
                "nothing and only measures: Trainer(callbacks=[GradientSurgery(Sum()), ConflictMonitor()])."
            )
        if isinstance(found[0].rule, GradientRule):
            raise ValueError(
                f"ConflictMonitor: {type(found[0].rule).__name__} works on the gradients themselves and makes no "
                "Gramian to watch. Take the monitor out, or watch a rule that gives weights, such as "
                "GradientSurgery(Sum())."
            )
        self._surgery = found[0]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Opens the table; of a resumed run, the rows up to its checkpoint."""
        if not trainer.global_step:
            self._sums, self._last, self._epoch = dict.fromkeys(self._sums), -1, -1
        self._sums = {span: None if sums is None else sums.to(pl_module.device) for span, sums in self._sums.items()}
        self._table.open(trainer, self._last)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Adds the step to the sums, and logs them when it is time."""
        gramians, weights = self._surgery.gramians, self._surgery.weights
        if len(self._surgery.vectors) > 1:
            raise ValueError(
                "ConflictMonitor watches one vector of losses, and this module hands over several: "
                f"{[vector.names for vector in self._surgery.vectors]}. Take the monitor out."
            )
        if gramians is not None and gramians is not self._seen and weights is not None:
            self._seen = gramians
            facts = facts_of_step(gramians, weights)
            for span, sums in self._sums.items():
                self._sums[span] = facts if sums is None else sums + facts
        silent = trainer.is_last_batch and self._epoch != trainer.current_epoch
        if ((logged_step(trainer) + 1) % self.every_n_steps and not silent) or more_follows(trainer):
            return
        if (sums := self._sums["log"]) is not None:
            self._sums["log"] = None
            self._log(trainer, ConflictMeans(sums), self._task_names(pl_module, sums))

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draws the epoch."""
        if (sums := self._sums["epoch"]) is not None:
            self._sums["epoch"] = None
            names = self._task_names(pl_module, sums)
            epoch = trainer.current_epoch
            self._draw(trainer, sums, names, f"epoch {epoch}", f"conflicts-epoch{epoch}", "surgery/conflicts_epoch")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draws the training, and hands the table to loggers that take it."""
        if (sums := self._sums["fit"]) is None:
            return
        names = self._task_names(pl_module, sums)
        self._draw(trainer, sums, names, "whole training", "conflicts", "surgery/conflicts")
        self._table.hand_on(trainer, "surgery/conflict_table")

    def state_dict(self) -> dict[str, Any]:
        """The sums, and the last step in the table, with its epoch."""
        return {"sums": dict(self._sums), "last": self._last, "epoch": self._epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues from `state_dict`."""
        self._sums, self._last = dict(state_dict["sums"]), state_dict["last"]
        self._epoch = state_dict.get("epoch", -1)

    # ---- what is written

    def _task_names(self, module: L.LightningModule, sums: Tensor) -> list[str]:
        return list(self._surgery.names or self._surgery.tasks or task_names(module) or map(str, range(sums.shape[-1])))

    def _log(self, trainer: L.Trainer, means: ConflictMeans, names: list[str]) -> None:
        values: dict[str, float] = {}
        for (a, first), (b, second) in combinations(enumerate(names), 2):
            values[f"surgery/cosine/{first}_vs_{second}"] = means.cosine[a][b]
            values[f"surgery/conflict/{first}_vs_{second}"] = means.conflict[a][b]
        for task, name in enumerate(names):
            values[f"surgery/norm/{name}"] = means.norm[task]
            values[f"surgery/weight/{name}"] = means.weight[task]
        values = {key: value for key, value in values.items() if value == value}
        log(trainer, values)
        self._last, self._epoch = logged_step(trainer), trainer.current_epoch
        pairs = [(a, b) for a, b in combinations(range(len(names)), 2) if means.cosine[a][b] == means.cosine[a][b]]
        lines = [[self._last, names[a], names[b], means.cosine[a][b], means.conflict[a][b]] for a, b in pairs]
        self._table.add(trainer, lines)

    def _draw(self, trainer: L.Trainer, sums: Tensor, names: list[str], when: str, file: str, key: str) -> None:
        if trainer.is_global_zero:
            picture = heat_map(ConflictMeans(sums).cosine, names, f"Cosine of the tasks' gradients, {when}")
            self._table.show(trainer, picture, file, key)
