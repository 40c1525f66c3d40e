"""Section `surgery` of benchmarks/device.py: what benchmarks/surgery.py measures, on the device, and waits for it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import surgery
from torch.profiler import ProfilerActivity, profile

TASKS = (2, 4, 8, 16)
WAYS = [*surgery.WAYS, "T passes", "torchjd PCGrad"]
ROWS = 1_000_000
"""Of all tables together."""
FIRST, STEPS = 3, 4
"""Steps that are not counted, and those that are."""


def cases(device: str, quick: bool, folder: Path) -> dict[str, Callable[[], dict[str, Any]]]:
    """Every way at every number of tasks, then with very many tasks."""
    if quick:
        return {f"T = 2, {way}": partial(one, way, 2, 1000, 1, device) for way in ("PCGrad model", "PCGrad row")}
    found = {f"T = {t}, {way}": partial(one, way, t, ROWS, 15, device) for t in TASKS for way in WAYS}
    return found | {f"T = 100, {way}": partial(one, way, 100, surgery.TABLES, 15, device) for way in surgery.MANY}


def one(way: str, tasks: int, rows: int, repeats: int, device: str) -> dict[str, Any]:
    """Time, memory, and what a step waits for the device."""
    found = surgery.measure(way, tasks, rows, repeats, device)
    waits = Waits(device)
    surgery.fitted(way, tasks, rows, FIRST + STEPS, waits, device=device, timed=False)
    return {"tasks": tasks, "way": way, **found, **waits.per_step()}


class Waits(L.Callback):
    """Counts what makes the host wait for the GPU, in the steps after the first ones.

    ``waits`` are the driver's calls that return when the GPU has caught up, ``copies back`` those of numbers to the
    host, ``reads`` single numbers that Python asked for, which on a CPU are counted too.
    """

    def __init__(self, device: str) -> None:
        gpu = [ProfilerActivity.CUDA] if device == "cuda" else []
        self.profile = profile(activities=[ProfilerActivity.CPU, *gpu])

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Begins when the first ones are over."""
        if trainer.global_step == FIRST:
            self.profile.start()

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Ends with the training."""
        if trainer.global_step == FIRST + STEPS:
            self.profile.stop()

    def per_step(self) -> dict[str, float]:
        """Numbers of a step."""
        names = [event.name for event in self.profile.events() or []]
        kinds = {
            "waits": [name for name in names if name in ("cudaStreamSynchronize", "cudaEventSynchronize")],
            "copies back": [name for name in names if name.startswith("Memcpy DtoH")],
            "reads": [name for name in names if name == "aten::_local_scalar_dense"],
        }
        return {kind: len(found) / STEPS for kind, found in kinds.items()}
