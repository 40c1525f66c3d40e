"""`StepCost`: what a training step costs: rows per second, the part of the backward pass, and memory."""

import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import lightning as L
import torch
from torch import Tensor

from mtlzoo.callbacks import collectives
from mtlzoo.callbacks.batches import rows_of
from mtlzoo.callbacks.described import described
from mtlzoo.callbacks.lightning_seams import log

Moment: TypeAlias = float | torch.cuda.Event
MIB = 2**20


class StepCost(L.Callback):
    """Logs the cost of training steps, of any module on any number of processes, with or without surgery.

    Every `every_n_steps` steps, over the steps since the last time:

    * ``cost/rows_per_second``: of all processes together, waiting for data included, validation and the first step of
      the training (which warms up) not;
    * ``cost/step_seconds``: mean time from the start of a batch to its end, in the slowest process;
    * ``cost/backward_share``: part of that in `LightningModule.backward`, where `GradientSurgery` and `LossBalancing`
      do their work; mean of the processes;
    * ``cost/peak_memory_mib``: the most that one process has held: on a GPU in tensors since the training began, else
      in the memory of the whole process since it began (not on Windows).

    A step costs a few readings of the clock. A GPU runs behind the host, so times there are events in the stream of the
    kernels: to record one waits for nothing, and the host waits for the last of them only every `every_n_steps` steps.

    Args:
        every_n_steps: Steps between two logs; a step is a batch, however many of them an optimiser's step takes.
        rows: Number of rows in a batch; by default the length of the first tensor in it.
    """

    __repr__ = described

    def __init__(self, every_n_steps: int = 50, rows: Callable[[Any], int] | None = None) -> None:
        if every_n_steps < 1:
            raise ValueError(f"every_n_steps={every_n_steps}; allowed are numbers >= 1.")
        self.every_n_steps = every_n_steps
        self.rows = rows or rows_of
        self._on_gpu = False
        self._warm = False
        self._start: Moment = 0.0
        self._backward: Moment = 0.0
        self._last: Moment | None = None
        self._clear()

    def _clear(self) -> None:
        self._rows = 0
        self._steps: list[tuple[Moment, Moment]] = []
        self._backwards: list[tuple[Moment, Moment]] = []
        self._whole: list[tuple[Moment, Moment]] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts the clock."""
        self._on_gpu = pl_module.device.type == "cuda"
        if self._on_gpu:
            torch.cuda.reset_peak_memory_stats(pl_module.device)
        self._warm = False
        self._last = None
        self._clear()

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stops the clock."""
        self._last = None

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stops the clock."""
        self._last = None

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Reads the clock."""
        self._start = self._now()

    def on_before_backward(self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor) -> None:
        """Reads the clock."""
        self._backward = self._now()

    def on_after_backward(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Reads the clock."""
        self._backwards.append((self._backward, self._now()))

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Reads the clock, and logs when it is time."""
        now = self._now()
        if self._warm:
            self._rows += self.rows(batch)
            self._steps.append((self._start, now))
            self._whole.append((self._start if self._last is None else self._last, now))
        else:
            self._clear()
        self._warm, self._last = True, now
        if len(self._steps) == self.every_n_steps:
            self._log(trainer, pl_module)
            self._clear()

    def _log(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        step = self._seconds(self._steps)
        mine = [self._rows, self._seconds(self._whole), step, self._seconds(self._backwards) / step, self._memory()]
        numbers = torch.tensor([mine], dtype=torch.float64)
        if collectives.world_size() > 1:
            numbers = torch.cat(collectives.gather([numbers.to(module.device)])[0]).cpu()
        rows, whole, steps, share, memory = numbers.unbind(1)
        values = {
            "cost/rows_per_second": float(rows.sum() / whole.max()) if rows.any() else math.nan,
            "cost/step_seconds": float(steps.max()) / len(self._steps),
            "cost/backward_share": float(share.mean()),
            "cost/peak_memory_mib": float(memory.max()) / MIB,
        }
        values = {name: value for name, value in values.items() if not math.isnan(value)}
        log(trainer, values)

    # ---- the clock

    def _now(self) -> Moment:
        if not self._on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _seconds(self, spans: Sequence[tuple[Moment, Moment]]) -> float:
        total = 0.0
        for start, end in spans:
            if isinstance(start, float) and isinstance(end, float):
                total += end - start
            elif isinstance(start, torch.cuda.Event) and isinstance(end, torch.cuda.Event):
                end.synchronize()
                total += start.elapsed_time(end) / 1000
        return total

    def _memory(self) -> float:
        if self._on_gpu:
            return torch.cuda.max_memory_allocated()
        if sys.platform == "win32":
            return math.nan
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024  # bytes there, KiB on Linux
