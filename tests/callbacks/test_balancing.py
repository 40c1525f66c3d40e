"""`LossBalancing` against plain autograd, for every loss rule, on modules of ours and of others."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from balancing_cases import (
    REMEMBERING,
    assert_same,
    each_rule,
    expected,
    fit,
    made,
    zoo_columns,
    zoo_model,
)
from chosen_device import ACCELERATOR
from foreign import Batch, Foreign, Manual, SparseTables, TwoOptimizers, batch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.precision import MixedPrecision
from recorder import Recorder
from torch import Tensor

from mtlzoo import MMoE
from mtlzoo.callbacks import LossBalancing, LossRule, rules
from mtlzoo.datamodules.loading import BatchLoader

pytestmark = pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no")


@each_rule
@pytest.mark.parametrize("kind", [Foreign, Manual, TwoOptimizers, SparseTables])
def test_equals_plain_autograd_on_a_foreign_module(kind: type[Foreign], build: Callable[[], LossRule]) -> None:
    batches = [batch(seed=seed) for seed in range(3)]
    module, reference, balancing = made(kind), made(kind), LossBalancing(build())
    if kind is SparseTables:
        for one in (module, reference):
            one.drop = torch.nn.Identity()
    fit(module, batches, balancing, max_epochs=3)
    rule = build()
    assert_same(module.state_dict(), expected(reference, rule, batches, 3))
    # The last epoch is told to the rule when another begins.
    balancing.rule.end_epoch()
    assert_same(dict(balancing.rule.named_buffers()), dict(rule.named_buffers()))
    assert "backward" not in module.__dict__


@each_rule
def test_equals_plain_autograd_on_a_zoo_model(build: Callable[[], LossRule]) -> None:
    batches = [zoo_columns(16, seed) for seed in range(3)]
    batches[1]["labels"][:, 0] = torch.nan  # nobody observes the first task
    module = zoo_model()
    fit(module, batches, LossBalancing(build()), max_epochs=3)
    assert_same(module.state_dict(), expected(zoo_model(), build(), batches, 3))


def test_famo_gets_the_losses_after_the_step() -> None:
    module, balancing, seen = made(Manual), LossBalancing(rules.FAMO()), []

    class Look(L.Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            seen.append(pl_module.losses(batch).detach())

    updates: list[Tensor] = []
    balancing.rule.update = lambda losses: updates.append(losses)  # type: ignore[method-assign]
    fit(module, [batch(seed=seed) for seed in range(4)], balancing, Look())
    torch.testing.assert_close(torch.stack(updates), torch.stack(seen))


def test_a_task_observed_nowhere_is_left_out() -> None:
    one = zoo_columns(16)
    one["labels"][:, 1] = torch.nan
    balancing = LossBalancing(rules.RLW())
    fit(zoo_model(), [one], balancing)
    assert balancing.weights is not None
    assert balancing.weights[1] == 0
    assert balancing.weights.sum().item() == pytest.approx(1.0)


class Spy(LossRule):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def solve(self, losses: Tensor, active: Tensor) -> Tensor:
        self.seen.append(losses.clone())
        return losses.new_tensor([1.0, 2.0, 3.0])


def test_automatic_accumulation_shows_the_losses_of_each_micro_batch_undivided() -> None:
    batches = [batch(seed=seed) for seed in range(4)]
    module, spy = made(Foreign), Spy()
    fit(module, batches, LossBalancing(spy), accumulate_grad_batches=2)
    reference = made(Foreign).double()
    torch.testing.assert_close(torch.stack(spy.seen[:2]), torch.stack([reference.losses(one) for one in batches[:2]]))
    sum((torch.tensor([1.0, 2.0, 3.0]) * reference.losses(one)).sum() / 2 for one in batches[:2]).backward()  # type: ignore[union-attr]
    assert_same(module.seen[0], {name: p.grad for name, p in reference.named_parameters() if p.grad is not None})
    assert len(module.seen) == 2


def test_accumulation_of_a_zoo_model_shows_its_micro_batches() -> None:
    spy = Spy()
    one = zoo_columns(16)
    fit(zoo_model(accumulate=2), [one], LossBalancing(spy))
    assert len(spy.seen) == 2
    torch.testing.assert_close(sum(spy.seen), zoo_model().double().task_losses(one).detach())


# ---- fp16


class Overflowing(Foreign):
    """Its second batch overflows: in the loss, or only in the gradient."""

    where = "loss"

    def losses(self, batch: Batch) -> Tensor:
        losses = super().losses(batch)
        if batch["y"][0, 0] != 99:
            return losses
        if self.where == "loss":
            return losses * torch.tensor([1.0, torch.inf, 1.0], device=losses.device)
        # The root of nothing: 0, with an infinite slope.
        return losses + torch.stack([(o * 0).abs().sqrt().sum() for o in self.outputs(batch)])


@each_rule
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_step_that_the_scaler_skips_leaves_no_trace(
    where: str, build: Callable[[], LossRule], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Overflowing, "where", where)
    batches = [batch(seed=seed, dtype=torch.float32) for seed in range(3)]
    bad = copy.deepcopy(batches[0])
    bad["y"][0, 0] = 99
    results = []
    for data in ([batches[0], bad, *batches[1:]], batches):
        module, balancing = made(Overflowing), LossBalancing(build())
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**5)
        fit(module, data, balancing, plugins=[MixedPrecision("16-mixed", "cpu", scaler)])
        assert scaler.get_scale() == (2.0**4 if len(data) == 4 else 2.0**5)
        results.append((module.state_dict(), balancing.rule.state_dict()))
    (with_bad, its_rule), (without, other_rule) = results
    # The scale is another one from there on, and so is float16's rounding.
    assert_same(with_bad, without, 1e-3)
    assert set(its_rule) == set(other_rule)
    for name, value in its_rule.items():
        if isinstance(value, Tensor):
            torch.testing.assert_close(value, other_rule[name], rtol=1e-3, atol=1e-3)
        else:
            assert value == other_rule[name]


def test_fp16_shows_unscaled_losses() -> None:
    spy, module = Spy(), made(Foreign)
    one = batch(dtype=torch.float32)
    reference = made(Foreign)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**5)
    fit(module, [one], LossBalancing(spy), plugins=[MixedPrecision("16-mixed", "cpu", scaler)])
    torch.testing.assert_close(spy.seen[0].float(), reference.losses(one), rtol=1e-2, atol=0)


def test_fp16_makes_no_loss_up() -> None:
    """Of a step that overflows the sum is as infinite as the loss was."""
    bad = batch(dtype=torch.float32)
    bad["y"][0, 0] = 99
    balancing = LossBalancing(rules.UW())
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**5)
    fit(made(Overflowing), [bad], balancing, plugins=[MixedPrecision("16-mixed", "cpu", scaler)])
    assert balancing.loss is not None
    assert balancing.loss.isinf()


# ---- resuming


class AtEpochEnd(ModelCheckpoint):
    """Callbacks that keep a state must differ in more than their options."""


class AtValidationEnd(ModelCheckpoint):
    """As above."""


def resumable(module: L.LightningModule, folder: Path, balancing: LossBalancing, **options: Any) -> L.Trainer:
    """Three epochs of five batches: a new one saves every step and both ends of an epoch, one that goes on nothing."""
    keeps: Any = {"dirpath": folder, "save_top_k": 0 if options else -1}
    saves: list[L.Callback] = [
        ModelCheckpoint(filename="{step}", every_n_train_steps=1, **keeps),
        AtEpochEnd(filename="epoch-{step}", save_on_train_epoch_end=True, **keeps),
    ]
    if isinstance(module, MMoE):
        saves.append(AtValidationEnd(filename="val-{step}", save_on_train_epoch_end=False, **keeps))
    quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary"), False)
    # Not precision="64-true": Lightning loads a checkpoint before it makes the module double.
    trainer = L.Trainer(max_epochs=3, accelerator=ACCELERATOR, callbacks=[balancing, *saves], **quiet)  # type: ignore[arg-type]
    train: Any = BatchLoader(zoo_columns(50) if isinstance(module, MMoE) else batch(50), 10, shuffle=True)
    val: Any = BatchLoader(zoo_columns(20, 1), 10) if isinstance(module, MMoE) else None
    trainer.fit(module, train, val, **options)
    return trainer


@pytest.mark.filterwarnings("ignore:The dirpath has changed")  # resumed runs write beside the first
@pytest.mark.parametrize("kind", ["zoo", "foreign"])
@pytest.mark.parametrize("build", REMEMBERING.values(), ids=REMEMBERING)
def test_resume_is_bit_identical(build: Callable[[], LossRule], kind: str, tmp_path: Path) -> None:
    def fresh() -> L.LightningModule:
        return (zoo_model() if kind == "zoo" else made(Foreign)).double()

    whole, balancing = fresh(), LossBalancing(build())
    resumable(whole, tmp_path / "whole", balancing)
    files = ["step=2", "step=5", "step=9", "epoch-step=10", *(["val-step=5"] if kind == "zoo" else [])]
    for number, file in enumerate(files):
        again, resumed = fresh(), LossBalancing(build())
        torch.manual_seed(number)
        trainer = resumable(again, tmp_path / str(number), resumed, ckpt_path=tmp_path / f"whole/{file}.ckpt")
        assert trainer.global_step == 15
        assert_same(again.state_dict(), whole.state_dict(), 0)
        state, wanted = resumed.state_dict(), balancing.state_dict()
        assert state["epoch"] == wanted["epoch"] == 2
        for name, value in wanted["rule"].items():
            assert (
                torch.equal(value, state["rule"][name]) if isinstance(value, Tensor) else value == state["rule"][name]
            )
    torch.load(tmp_path / "whole/step=9.ckpt", weights_only=True)


# ---- logs, names


def test_weights_are_logged_every_n_steps() -> None:
    recorder = Recorder()
    balancing = LossBalancing(rules.FixedWeights([1.0, 2.0, 3.0]), tasks=["a", "b", "c"])
    fit(made(Foreign), [batch(seed=s) for s in range(7)], balancing, logger=recorder, log_every_n_steps=3)
    wanted = {"balancing/weight/a": 1.0, "balancing/weight/b": 2.0, "balancing/weight/c": 3.0}
    assert recorder.of("balancing/") == [(2, wanted), (5, wanted)]


def test_names_come_from_the_module() -> None:
    recorder = Recorder()
    one = zoo_columns(16)
    fit(zoo_model(), [one], LossBalancing(rules.Equal()), logger=recorder, log_every_n_steps=1)
    assert set(recorder.of("balancing/")[0][1]) == {f"balancing/weight/{name}" for name in ("click", "like", "stars")}


def test_what_is_descended_is_logged() -> None:
    """`train/loss` of zoo models stays the sum without the rule's weights."""
    recorder = Recorder()
    fit(
        zoo_model(),
        [zoo_columns(16)],
        LossBalancing(rules.FixedWeights([1.0, 2.0, 3.0])),
        logger=recorder,
        log_every_n_steps=1,
    )
    ((_, logged),) = recorder.of("train/")
    losses = [logged[f"train/{name}/loss"] for name in ("click", "like", "stars")]
    assert logged["train/loss"] == pytest.approx(sum(losses))
    weighted = sum(weight * loss for weight, loss in zip((1, 2, 3), losses, strict=True))
    assert logged["train/balanced_loss"] == pytest.approx(weighted)


# ---- refusals
