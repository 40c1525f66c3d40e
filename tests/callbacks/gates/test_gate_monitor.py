"""`GateMonitor` against means computed by hand, on a module that is not ours, and the files it writes."""

import copy
import csv
import math
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from chosen_device import ACCELERATOR
from gated import EXPERTS, TASKS, Declared, Gated, columns
from lightning.pytorch.callbacks import ModelCheckpoint
from recorder import Gallery, Recorder
from torch import nn

from mtlzoo.callbacks import GateMonitor
from mtlzoo.datamodules.loading import BatchLoader

GATES = ["gates.0", "gates.1"]
QUIET: dict[str, Any] = dict.fromkeys(("enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)


def fit(folder: Path, *callbacks: L.Callback, module: Any = None, steps: int = 5, **options: Any) -> L.Trainer:
    data = options.pop("data", columns(steps))
    loader: Any = BatchLoader(data, 8)
    defaults: dict[str, Any] = {
        "max_epochs": 1,
        "accelerator": ACCELERATOR,
        "devices": 1,
        "precision": "64-true",
        "default_root_dir": folder,
        "logger": False,
        "log_every_n_steps": 1,
    }
    trainer = L.Trainer(**(defaults | QUIET | options), callbacks=list(callbacks))
    module = Gated() if module is None else module
    trainer.fit(module, loader, loader, ckpt_path=None)
    return trainer


def by_hand(data: Any, first: int, last: int, layer: str = "gates") -> dict[str, float]:
    """Means over the rows of steps [first, last]."""
    weights = data["logits"][8 * first : 8 * (last + 1)].softmax(-1)
    values: dict[str, float] = {}
    for t, task in enumerate(TASKS):
        each = weights[:, t]
        values |= {f"gates/{layer}/{task}/{k}": float(each[:, k].mean()) for k in range(EXPERTS)}
        entropy = -(each * each.log()).sum(-1).mean() / math.log(EXPERTS)
        values[f"gates/{layer}/{task}/entropy"] = float(entropy)
    return values


def monitor_of(trainer: Any) -> GateMonitor:
    found: GateMonitor = next(callback for callback in trainer.callbacks if isinstance(callback, GateMonitor))
    return found


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_means_are_those_computed_by_hand(tmp_path: Path) -> None:
    """Over the rows since the last log; a validation, before and after, does not count."""
    recorder = Recorder()
    trainer = fit(tmp_path, GateMonitor(2, GATES), logger=recorder, num_sanity_val_steps=2, val_check_interval=1)
    logged = recorder.of("gates/")
    assert [step for step, _ in logged] == [1, 3]
    for (_, values), (first, last) in zip(logged, [(0, 1), (2, 3)], strict=True):
        assert values == pytest.approx(by_hand(columns(5), first, last), rel=1e-12)
    assert float(trainer.callback_metrics["gates/gates/like/2"]) == pytest.approx(logged[1][1]["gates/gates/like/2"])


@pytest.mark.parametrize(("every", "expected"), [(50, [4, 9]), (7, [4, 6]), (3, [2, 5, 8])])
@pytest.mark.every_case
def test_an_epoch_that_is_short_is_logged_too(tmp_path: Path, every: int, expected: list[int]) -> None:
    recorder = Recorder()
    fit(tmp_path, GateMonitor(every, GATES), logger=recorder, max_epochs=2)
    assert [step for step, _ in recorder.of("gates/")] == expected


def test_accumulated_batches_count_together(tmp_path: Path) -> None:
    recorder = Recorder()
    fit(tmp_path, GateMonitor(1, GATES), logger=recorder, steps=4, accumulate_grad_batches=2)
    assert [step for step, _ in recorder.of("gates/")] == [0, 1]
    assert recorder.of("gates/")[1][1] == pytest.approx(by_hand(columns(4), 2, 3), rel=1e-12)


def test_table_and_picture_are_in_the_log_folder(tmp_path: Path) -> None:
    fit(tmp_path, GateMonitor(2), module=Declared(), max_epochs=2)
    table = rows_of(tmp_path / "gates.csv")
    assert table[0] == ["step", "layer", "task", "expert", "weight", "entropy"]
    assert [row[:4] for row in table[1:7]] == [["1", "mixture", task, expert] for task in TASKS for expert in "abc"]
    assert [row[0] for row in table[1::6]] == ["1", "3", "5", "7", "9"]
    wanted = by_hand(columns(5), 0, 1, "mixture")
    assert float(table[6][4]) == pytest.approx(wanted["gates/mixture/like/2"])
    assert [float(row[5]) for row in table[4:7]] == pytest.approx([wanted["gates/mixture/like/entropy"]] * 3)
    assert (tmp_path / "gates.png").read_bytes().startswith(b"\x89PNG")


def test_loggers_that_take_pictures_and_tables_get_them(tmp_path: Path) -> None:
    gallery = Gallery()
    fit(tmp_path, GateMonitor(2, GATES), logger=gallery, max_epochs=2)
    assert [(key, step) for key, step, _ in gallery.images] == [("gates/weights", 5), ("gates/weights", 10)]
    assert all(picture.std() > 0 for _, _, (picture,) in gallery.images)
    ((key, names, data),) = gallery.tables
    assert (key, names, len(data)) == ("gates/table", ["step", "layer", "task", "expert", "weight", "entropy"], 30)
    assert not list(tmp_path.glob("**/*.png"))


def test_dead_experts_are_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        fit(tmp_path, GateMonitor(2), module=Declared(), data=columns(5, dead=1), max_epochs=2)
    said = [message for message in caplog.messages if "dead" in message]
    assert len(said) == 1
    assert said[0].endswith("less than 10% of an equal share in the last epoch: b of mixture.")
    alive = columns(5, dead=1)
    alive["logits"][:, 1, 1] += 9.0  # one task uses it
    caplog.clear()
    with caplog.at_level("INFO"):
        fit(tmp_path, GateMonitor(2), module=Declared(), data=alive)
    assert not [message for message in caplog.messages if "dead" in message]


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists")
def test_a_resumed_run_goes_on_with_its_table_and_sums(tmp_path: Path) -> None:
    data = columns(10, dead=0)

    rows: list[float] = []

    class Counts(L.Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx == 0:
                rows.append(float(monitor_of(trainer).state_dict()["sums"]["epoch"][EXPERTS + 1]))

    def train(**options: Any) -> GateMonitor:
        monitor = GateMonitor(3, GATES)
        save = ModelCheckpoint(tmp_path / "saved", filename="{step}", every_n_train_steps=1, save_top_k=-1)
        trainer = L.Trainer(
            default_root_dir=tmp_path,
            max_epochs=2,
            accelerator=ACCELERATOR,
            logger=False,
            num_sanity_val_steps=0,
            callbacks=[monitor, Counts(), save],
            **{name: value for name, value in QUIET.items() if name != "enable_checkpointing"},
        )
        loader: Any = BatchLoader(data, 8)
        trainer.fit(Gated().double(), loader, loader, weights_only=True, **options)
        return monitor

    whole = train()
    wanted, picture = rows_of(tmp_path / "gates.csv"), (tmp_path / "gates.png").read_bytes()
    assert len(wanted) == 1 + 6 * 6
    for step in (4, 7, 10, 15):
        again = train(ckpt_path=tmp_path / f"saved/step={step}.ckpt")
        assert rows_of(tmp_path / "gates.csv") == wanted
        assert (tmp_path / "gates.png").read_bytes() == picture
        for one, other in zip(again.state_dict().values(), whole.state_dict().values(), strict=True):
            assert str(one) == str(other)
    train()
    assert rows_of(tmp_path / "gates.csv") == wanted  # a new run begins a new table
    assert set(rows) == {8}  # every epoch by itself


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch's compiler
@pytest.mark.parametrize("how", ["compile", "in place"])
def test_a_compiled_module_is_heard(tmp_path: Path, how: str) -> None:
    torch.compiler.reset()
    module = Gated()
    if how == "in place":
        module.compile(backend="aot_eager")
    whole: Any = torch.compile(module, backend="aot_eager") if how == "compile" else module
    recorder = Recorder()
    fit(tmp_path, GateMonitor(2, GATES), module=whole, logger=recorder)
    assert recorder.of("gates/")[1][1] == pytest.approx(by_hand(columns(5), 2, 3), rel=1e-9)


def test_the_module_is_left_as_it_was(tmp_path: Path) -> None:
    module = Gated()
    copies: list[Any] = []

    class Copies(L.Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            copies.append(copy.deepcopy(pl_module.gates))  # as averages of weights do

    class Stops(L.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            raise MemoryError

    fit(tmp_path, GateMonitor(2, GATES), Copies(), module=module)
    assert not any(gate._forward_hooks for gate in module.gates)
    with pytest.raises(MemoryError):
        fit(tmp_path, GateMonitor(2, GATES), Stops(), module=module)
    assert not any(gate._forward_hooks for gate in module.gates)
    assert copies


# ---- refusals


class Unscaled(nn.Module):
    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        return 2 * logits.sigmoid()


def test_what_no_softmax_is_is_refused(tmp_path: Path) -> None:
    module = Gated()
    module.gates[1] = Unscaled()
    with pytest.raises(ValueError, match=r"output of gates\.1 is no softmax over experts: its rows sum to"):
        fit(tmp_path, GateMonitor(2, GATES), module=module)


def test_what_no_weights_are_is_refused(tmp_path: Path) -> None:
    class Wide(Declared):
        gate_modules = {"gates.0": ("mixture", "click", ["a", "b"])}  # noqa: RUF012

    with pytest.raises(ValueError, match=r"should be weights \[rows, experts\] of 2 experts; found the shape \(8, 3\)"):
        fit(tmp_path, GateMonitor(2), module=Wide())


def test_a_gate_that_nobody_calls_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\['experts'\] put out nothing in the first step"):
        fit(tmp_path, GateMonitor(2, [*GATES, "experts"]))


def test_names_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nothing says which modules of Gated are gates.*experts\.0"):
        fit(tmp_path, GateMonitor())
    with pytest.raises(ValueError, match=r"modules=\['gate'\] are no modules of Gated. Its modules are experts"):
        fit(tmp_path, GateMonitor(modules=["gate"]))
    with pytest.raises(ValueError, match="every_n_steps=0; allowed"):
        GateMonitor(0)
