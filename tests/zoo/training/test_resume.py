"""A training is the same training however it was stopped, and however it goes on."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import lightning as L
import pytest
import torch
from chosen_device import ACCELERATOR
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from mtlzoo import SharedBottom
from mtlzoo.cli.checkpoints import LastCheckpoint, Patience

EPOCH = 7
"""Batches of the toy data's train split."""
STEPS = 3 * EPOCH
pytestmark = [
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),  # not all callbacks are there again
    pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization"),
]


class Diary(L.Callback):
    """What a training did, by step: rows, rate, losses that were logged, scores of its validations."""

    def __init__(self) -> None:
        self.entries: list[tuple[Any, ...]] = []

    def on_train_batch_start(self, trainer: L.Trainer, module: Any, batch: Any, batch_idx: int) -> None:
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        self.entries.append(("rows", trainer.global_step, trainer.current_epoch, batch["row"].tolist(), rate))

    def on_validation_end(self, trainer: L.Trainer, module: Any) -> None:
        if not trainer.sanity_checking:
            score = float(trainer.callback_metrics["val/auc_mean"])
            self.entries.append(("score", trainer.global_step, trainer.current_epoch, score))

    def after(self, step: int) -> list[tuple[Any, ...]]:
        """Entries after so many steps."""
        return [entry for entry in self.entries if entry[1] > step or (entry[0] == "rows" and entry[1] == step)]


class Stop(L.Callback):
    """Ends the training after so many steps as `max_time` and callbacks do."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        trainer.should_stop = trainer.should_stop or trainer.global_step == self.step


class TimeIsUp(L.pytorch.callbacks.Timer):
    """Lightning's timer, whose time is up after so many steps."""

    def __init__(self, step: int) -> None:
        super().__init__(timedelta(days=1))
        self.step = step
        self.taken = 0

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self.taken += 1
        self._duration = 0.0 if self.taken == self.step else self._duration
        super().on_train_batch_end(*args, **kwargs)


class CutError(Exception):
    """A kill."""


class Kill(L.Callback):
    """Kills the training after so many steps, whatever comes next."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            raise CutError


def single(toy: ModuleType, batch_size: int) -> Any:
    """The toy data in float32: Lightning restores doubles as floats."""
    data = toy.InMemory(batch_size)
    make = data.loader

    def loader(seed: int, shuffle: bool) -> Any:
        made = make(seed, shuffle)
        made.columns = {k: v.float() if v.dtype == torch.float64 else v for k, v in made.columns.items()}
        return made

    data.loader = loader
    return data


class Fit:
    """A training in one of the set-ups of `SETUPS`; `callbacks` are there beside those of the set-up."""

    def __init__(
        self, toy: ModuleType, callbacks: list[L.Callback], ckpt: Path | None = None, batch_size: int = 32, **run: Any
    ) -> None:
        torch.manual_seed(0 if ckpt is None else 99)
        # Scores that fall and rise: the schedule and early stopping have something to count.
        trained: dict[str, Any] = {"lr": 0.3, "dropout": 0.2, "schedule": "plateau", "averaging": 0.9}
        self.model = SharedBottom(toy.SCHEMA, embedding_dim=4, bottom_units=[8], tower_units=[4], **trained)
        self.diary = Diary()
        self.trainer = L.Trainer(
            accelerator=ACCELERATOR,
            callbacks=[self.diary, *callbacks],
            **{
                "logger": False,
                "enable_progress_bar": False,
                "enable_model_summary": False,
                "enable_checkpointing": any(isinstance(c, L.pytorch.callbacks.Checkpoint) for c in callbacks),
                "max_epochs": 3,
                "log_every_n_steps": 2,
                **run,
            },
        )
        self.trainer.fit(self.model, single(toy, batch_size), ckpt_path=ckpt)

    def result(self) -> dict[str, Any]:
        """What has to be the same in the end."""
        schedule: Any = self.model.lr_schedulers()
        return {
            "step": self.trainer.global_step,
            "epoch": self.trainer.current_epoch,
            "best": (schedule.best, schedule.num_bad_epochs),
            "metrics": {name: float(value) for name, value in self.trainer.callback_metrics.items()},
            "logged at": self.trainer.fit_loop.epoch_loop._batches_that_stepped,
            "weights": {name: value.tolist() for name, value in self.model.state_dict().items()},
        }


SETUPS: dict[str, dict[str, Any]] = {
    "every epoch": {},
    "every 3 batches": {"val_check_interval": 3},
    "twice an epoch": {"val_check_interval": 0.5},
    "every 4 batches across epochs": {"val_check_interval": 4, "check_val_every_n_epoch": None},
    "every other epoch": {"check_val_every_n_epoch": 2},
    "no validation": {"limit_val_batches": 0},
}
"""When a validation runs."""
GOES_ON: dict[str, dict[str, Any]] = {
    "max_epochs": {"max_epochs": 3},
    "max_steps": {"max_epochs": -1, "max_steps": STEPS},
    "both": {"max_epochs": 3, "max_steps": 1000},
}
"""How it goes on, to the same end."""


def onwards(setup: str, step: int) -> dict[str, Any]:
    """A way to go on: each occurs with each set-up and each kind of stop, without all combinations of the three."""
    return SETUPS[setup] | list(GOES_ON.values())[(list(SETUPS).index(setup) + step) % len(GOES_ON)]


def stopped_by(toy: ModuleType, step: int, how: str, saves: list[L.Callback], **run: Any) -> Fit | None:
    """A training that ends after `step` steps; None where it is killed."""
    if how == "max_steps":
        return Fit(toy, saves, **run, max_steps=step)
    if how == "max_steps and max_epochs":
        return Fit(toy, saves, **{**run, "max_steps": 1000, "max_epochs": -(-step // EPOCH)})
    if how == "max_epochs":
        return Fit(toy, saves, **{**run, "max_epochs": step // EPOCH})
    if how in ("should_stop", "max_time"):
        return Fit(toy, [*saves, Stop(step) if how == "should_stop" else TimeIsUp(step)], **run)
    with pytest.raises(CutError):
        Fit(toy, [*saves, Kill(step)], **run)
    return None


@pytest.fixture(scope="module")
def uninterrupted(toy: ModuleType) -> Callable[[str], Fit]:
    """The training of a set-up that nothing stops."""
    made: dict[str, Fit] = {}

    def get(setup: str) -> Fit:
        if setup not in made:
            made[setup] = Fit(toy, [], **SETUPS[setup])
        return made[setup]

    return get


@pytest.mark.parametrize("setup", SETUPS)
@pytest.mark.parametrize(
    ("how", "step"),
    [
        *(("max_steps", step) for step in (3, 4, 7, 9, 14)),
        ("max_epochs", 7),
        ("max_steps and max_epochs", 14),
        ("should_stop", 5),
        ("should_stop", 7),
        ("max_time", 10),
    ],
)
def test_after_fit_has_returned(
    toy: ModuleType, tmp_path: Path, uninterrupted: Any, how: str, step: int, setup: str
) -> None:
    """`trainer.save_checkpoint` after `fit`, as in a notebook."""
    first = stopped_by(toy, step, how, [], **SETUPS[setup])
    assert first is not None
    first.trainer.save_checkpoint(tmp_path / "a.ckpt")
    again = Fit(toy, [], tmp_path / "a.ckpt", **onwards(setup, step))
    whole = uninterrupted(setup)
    assert again.diary.entries == whole.diary.after(step)
    assert again.result() == whole.result()


@pytest.mark.parametrize("setup", SETUPS)
@pytest.mark.parametrize(("how", "step"), [("kill", 5), ("kill", 7), ("max_steps", 10), ("should_stop", 12)])
def test_last_checkpoint(toy: ModuleType, tmp_path: Path, uninterrupted: Any, how: str, step: int, setup: str) -> None:
    stopped_by(toy, step, how, [LastCheckpoint(tmp_path, 2)], **SETUPS[setup])
    reached = torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"]
    assert reached == (step if how != "kill" else step // 2 * 2 if step < EPOCH else EPOCH)
    again = Fit(toy, [LastCheckpoint(tmp_path)], tmp_path / "last.ckpt", **onwards(setup, step))
    whole = uninterrupted(setup)
    # A validation that was due when the checkpoint was written runs again.
    assert [e for e in again.diary.entries if e[1] > reached or e[0] == "rows"] == whole.diary.after(reached)
    assert again.result() == whole.result()


@pytest.mark.slow
@pytest.mark.parametrize("setup", SETUPS)
def test_somebody_elses_checkpoint_after_a_batch(
    toy: ModuleType, tmp_path: Path, uninterrupted: Any, setup: str
) -> None:
    """Before the validation that follows the batch; at the end of an epoch that is the last word of its score."""
    save = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
    Fit(toy, [save], **SETUPS[setup])
    whole = uninterrupted(setup)
    for step in (3, 5, 7, 8, 14):
        again = Fit(toy, [], tmp_path / f"step={step}.ckpt", **onwards(setup, step))
        assert [e for e in again.diary.entries if e[1] > step or e[0] == "rows"] == whole.diary.after(step)
        assert again.result() == whole.result()
    again = Fit(toy, [], tmp_path / f"step={STEPS}.ckpt", **SETUPS[setup])
    assert again.diary.entries == [e for e in whole.diary.entries if e[:2] == ("score", STEPS)]
    assert again.result()["best"] == whole.result()["best"]


@pytest.mark.parametrize("setup", [name for name in SETUPS if name != "no validation"])
def test_somebody_elses_checkpoint_after_a_validation(
    toy: ModuleType, tmp_path: Path, uninterrupted: Any, setup: str
) -> None:
    """The end of the epoch is still to come; what looks at the score there finds it."""
    save = ModelCheckpoint(tmp_path, "{step}", save_on_train_epoch_end=False, save_top_k=-1)
    stopping: dict[str, Any] = {"monitor": "val/auc_mean", "mode": "max", "patience": 50}
    first = Fit(toy, [save, EarlyStopping(**stopping)], **SETUPS[setup])
    counted = first.trainer.early_stopping_callback.state_dict()  # type: ignore[union-attr]
    paths = sorted(tmp_path.glob("step=*.ckpt"), key=lambda path: int(path.stem[5:]))
    for path in paths[:-1]:
        step = int(path.stem[5:])
        again = Fit(toy, [EarlyStopping(**stopping)], path, **onwards(setup, step))
        assert again.diary.entries == uninterrupted(setup).diary.after(step)
        assert again.result() == uninterrupted(setup).result()
        assert again.trainer.early_stopping_callback.state_dict() == counted  # type: ignore[union-attr]


@pytest.mark.parametrize("step", [5, 14])
def test_again_and_again(toy: ModuleType, tmp_path: Path, uninterrupted: Any, step: int) -> None:
    """A training that is stopped after every few steps, each time by another limit."""
    path = None
    for number, limits in enumerate([{"max_steps": step}, {"max_epochs": 2}, {"max_steps": 15}, {"max_steps": 17}]):
        fit = Fit(toy, [], path, **limits)
        fit.trainer.save_checkpoint(path := tmp_path / f"{number}.ckpt")
    again = Fit(toy, [], path)
    assert again.diary.entries == uninterrupted("every epoch").diary.after(17)
    assert again.result() == uninterrupted("every epoch").result()


def test_an_epochs_end_may_go_on_with_another_batch_size(toy: ModuleType, tmp_path: Path) -> None:
    """Within an epoch the loader refuses; at its end nothing depends on it, `max_steps` or not."""
    first = Fit(toy, [], max_epochs=1)
    first.trainer.save_checkpoint(tmp_path / "a.ckpt")
    again = Fit(toy, [], tmp_path / "a.ckpt", batch_size=64, max_steps=1000)
    assert again.trainer.global_step == EPOCH + 2 * 4


@pytest.mark.parametrize("step", [5, EPOCH])
def test_checkpoints_of_earlier_versions(toy: ModuleType, tmp_path: Path, uninterrupted: Any, step: int) -> None:
    """They lack what came later: the sums of losses, and whether a validation was due."""
    first = Fit(toy, [], max_steps=step)
    first.trainer.save_checkpoint(tmp_path / "a.ckpt")
    checkpoint = torch.load(tmp_path / "a.ckpt", weights_only=True)
    for name in ("losses", "validation", "metrics"):
        del checkpoint["mtlzoo"][name]
    torch.save(checkpoint, tmp_path / "a.ckpt")
    again = Fit(toy, [], tmp_path / "a.ckpt")
    assert again.diary.entries == uninterrupted("every epoch").diary.after(step)
    assert again.result()["weights"] == uninterrupted("every epoch").result()["weights"]
    stopping: dict[str, Any] = {"monitor": "val/auc_mean", "mode": "max", "patience": 3}
    assert Patience(**stopping).state_key == EarlyStopping(**stopping).state_key
