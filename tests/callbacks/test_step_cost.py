"""`StepCost` with a clock that the test turns."""

import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from chosen_device import ACCELERATOR
from recorder import Recorder
from torch import Tensor, nn

from mtlzoo.callbacks import GradientSurgery, StepCost, rules, step_cost
from mtlzoo.callbacks.batches import rows_of


class Clock:
    """Stands until somebody says that time has passed."""

    def __init__(self) -> None:
        self.now = 0.0
        self.read = 0

    def perf_counter(self) -> float:
        self.read += 1
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    one = Clock()
    monkeypatch.setattr(step_cost, "time", one)
    return one


class Slow(L.LightningModule):
    """A step takes 8 s, 6 of them backward; the first takes 100 s more; a validation takes 1000 s."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.layer = nn.Linear(2, 2)

    def training_step(self, batch: Tensor, batch_idx: int) -> Any:
        self.clock.now += 102.0 if self.global_step == 0 else 2.0
        return {"loss": self.layer(batch).mean(0)}

    sums_losses = True

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        self.clock.now += 6.0
        loss.sum().backward()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.clock.now += 1000.0

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Batches:
    """Batches of 4 rows that take 2 s to come."""

    def __init__(self, clock: Clock, number: int) -> None:
        self.clock = clock
        self.number = number

    def __len__(self) -> int:
        return self.number

    def __iter__(self) -> Iterator[Tensor]:
        for _ in range(self.number):
            self.clock.now += 2.0
            yield torch.ones(4, 2)


def fit(module: L.LightningModule, clock: Clock, *callbacks: L.Callback, **options: Any) -> Recorder:
    recorder = Recorder()
    quiet: dict[str, Any] = dict.fromkeys(
        ("enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    defaults: dict[str, Any] = {
        "max_epochs": 1,
        "accelerator": ACCELERATOR,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
        **quiet,
    }
    trainer = L.Trainer(**(defaults | options), logger=recorder, callbacks=list(callbacks))
    trainer.fit(module, Batches(clock, 9), Batches(clock, 1))
    return recorder


def test_numbers_are_those_of_the_clock(clock: Clock) -> None:
    recorder = fit(Slow(clock), clock, StepCost(every_n_steps=4))
    logged = recorder.of("cost/")
    assert [step for step, _ in logged] == [4, 8]  # after the first step, which warms up
    for _, values in logged:
        assert values.pop("cost/peak_memory_mib") > 50
        # 2 s of waiting and 8 s of work for 4 rows.
        assert values == {
            "cost/rows_per_second": 0.4,
            "cost/step_seconds": 8.0,
            "cost/backward_share": 0.75,
        }


def test_validation_is_no_part_of_a_step(clock: Clock) -> None:
    recorder = fit(Slow(clock), clock, StepCost(every_n_steps=4), val_check_interval=3, max_epochs=2)
    rates = [values["cost/rows_per_second"] for _, values in recorder.of("cost/")]
    # Batches that come right after a validation were waited for while the clock stood.
    assert len(rates) == 4
    assert all(0.4 <= rate <= 0.5 for rate in rates)


def test_surgery_is_in_the_backward_pass(clock: Clock) -> None:
    class Turn(rules.Sum):
        def solve(self, *args: Any, **kwargs: Any) -> Tensor:
            clock.now += 24.0
            return super().solve(*args, **kwargs)

    recorder = fit(Slow(clock), clock, GradientSurgery(Turn()), StepCost(every_n_steps=8))
    ((_, values),) = recorder.of("cost/")
    assert values["cost/backward_share"] == pytest.approx(24 / 26)


def test_a_step_reads_the_clock_and_nothing_else(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    costly: list[int] = []
    monkeypatch.setattr(StepCost, "_log", lambda *_: costly.append(clock.read))
    fit(Slow(clock), clock, StepCost(every_n_steps=100), max_epochs=3)
    assert not costly
    assert clock.read == 4 * 27


def test_memory_is_the_peak_of_the_process(clock: Clock) -> None:
    ballast = torch.ones(2**25)  # 128 MiB
    ((_, values),) = fit(Slow(clock), clock, StepCost(every_n_steps=8)).of("cost/")
    unit = 2**20 if sys.platform == "darwin" else 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    assert values["cost/peak_memory_mib"] == pytest.approx(peak, rel=0.1)
    assert values["cost/peak_memory_mib"] > ballast.nbytes / 2**20


@pytest.mark.parametrize(
    ("batch", "rows"),
    [
        (torch.ones(3, 2), 3),
        ({"name": "x", "a": torch.ones(5), "b": torch.ones(4)}, 5),
        (["text", [torch.ones(6, 1)], 3], 6),
        (torch.tensor(1.0), 1),
        (object(), 0),
        ("text", 0),
    ],
)
def test_rows_of_a_batch(batch: Any, rows: int) -> None:
    assert rows_of(batch) == rows


def test_rows_can_be_said_and_unknown_ones_are_not_logged(clock: Clock) -> None:
    ((_, values),) = fit(Slow(clock), clock, StepCost(8, rows=lambda batch: 10 * len(batch))).of("cost/")
    assert values["cost/rows_per_second"] == pytest.approx(4.0)
    ((_, values),) = fit(Slow(clock), clock, StepCost(8, rows=lambda batch: 0)).of("cost/")
    assert "cost/rows_per_second" not in values


def test_a_gpu_is_waited_for_only_when_it_is_logged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The calls that a GPU would get; its own times are not to be had here."""
    waited: list[float] = []
    ticks = iter(range(1000))

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            self.at = next(ticks)

        def synchronize(self) -> None:
            waited.append(self.at)

        def elapsed_time(self, end: "Event") -> float:
            return 1000.0 * (end.at - self.at)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 3 * 2**20)
    recorder = Recorder()
    place = SimpleNamespace(epoch_loop=SimpleNamespace(_batches_that_stepped=7))
    trainer: Any = SimpleNamespace(callback_metrics={}, loggers=[recorder], fit_loop=place, is_global_zero=True)
    module: Any = SimpleNamespace(device=torch.device("cuda"))
    cost = StepCost(every_n_steps=3)
    cost.on_train_start(trainer, module)
    for step in range(4):
        assert not waited
        cost.on_train_batch_start(trainer, module, None, step)
        cost.on_before_backward(trainer, module, torch.ones(2))
        cost.on_after_backward(trainer, module)
        cost.on_train_batch_end(trainer, module, None, torch.ones(5, 1), step)
    assert waited
    # Four readings a step: three ticks from its start to its end, one of them backward; four from end to end.
    assert recorder.of("cost/") == [
        (
            7,
            {
                "cost/rows_per_second": 15 / 12,
                "cost/step_seconds": 3.0,
                "cost/backward_share": pytest.approx(1 / 3),
                "cost/peak_memory_mib": 3.0,
            },
        )
    ]


def test_no_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="every_n_steps=0"):
        StepCost(0)
