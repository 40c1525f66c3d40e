"""Timing of things side by side: A B A B ..., because the machine is shared and what it gives drifts."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter, process_time
from typing import Any

import torch

clock = perf_counter


def busy(yes: bool) -> None:
    """On a machine that others use meanwhile: one thread, and its CPU time instead of the time that passes."""
    global clock
    if yes:
        torch.set_num_threads(1)
        clock = process_time


def in_turn(steps: Mapping[str, Callable[[], object]], seconds: float = 20.0, least: int = 5) -> dict[str, float]:
    """Median seconds of one call of each, called in turn until `seconds` have passed.

    Args:
        steps: What is compared, by name.
        seconds: Time for all of them together.
        least: Rounds at least; one round before them is not counted.
    """
    times: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        timed(step)
    end = clock() + seconds
    while clock() < end or len(next(iter(times.values()))) < least:
        for name, step in steps.items():
            times[name].append(timed(step))
    return {name: median(values) for name, values in times.items()}


def now() -> float:
    """The time when a GPU, where there is one, has done all that it was asked to."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return clock()


def timed(step: Callable[[], object]) -> float:
    """Seconds of one call, the GPU's work included."""
    start = now()
    step()
    return now() - start


@dataclass
class Pairs:
    """Seconds of `chunk` steps of a trainer, of these in its loader, and of as many bare steps right after them."""

    chunk: int
    trainer: list[float] = field(default_factory=list)
    loading: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)

    def summary(self, batch_size: int, warm_up: int = 1) -> dict[str, float]:
        """Medians over the chunks after the first ones."""
        pairs = list(zip(self.trainer, self.loading, self.bare, strict=True))[warm_up:]
        rows = self.chunk * batch_size
        return {
            "rows/s": rows / median(t for t, _, _ in pairs),
            "bare rows/s": rows / median(b for _, _, b in pairs),
            "ratio": median(b / t for t, _, b in pairs),
            "loading": median(lo / t for t, lo, _ in pairs),
            "chunks": len(pairs),
        }


@contextmanager
def beside(loader: type[Any], bare: Callable[[int], object], chunk: int) -> Iterator[Pairs]:
    """While this lasts, every training loader of that class stops after each `chunk` batches for `chunk` bare steps.

    The time from one stop to the next is what the trainer took for `chunk` steps with all that it does around them.

    Args:
        loader: Class with `__iter__`; objects that do not shuffle are left alone.
        bare: Takes the number of steps and does them.
        chunk: Steps in a row.
    """
    pairs = Pairs(chunk)
    original = loader.__iter__

    def paced(self: Any) -> Iterator[Any]:
        batches = original(self)
        return _paced(batches, bare, pairs) if _shuffles(self) else batches

    loader.__iter__ = paced
    try:
        yield pairs
    finally:
        loader.__iter__ = original


def _paced(batches: Iterator[Any], bare: Callable[[int], object], pairs: Pairs) -> Iterator[Any]:
    while True:
        loading, start = 0.0, now()
        for _ in range(pairs.chunk):
            before = clock()
            try:
                batch = next(batches)
            except StopIteration:
                return
            loading += clock() - before
            yield batch
        pairs.trainer.append(now() - start)
        pairs.loading.append(loading)
        pairs.bare.append(timed(lambda: bare(pairs.chunk)))


def _shuffles(loader: Any) -> bool:
    ours = getattr(loader, "shuffle", None)
    return type(loader.sampler).__name__ == "RandomSampler" if ours is None else bool(ours)
