"""Several vectors of losses, tasks that change, and losses that are refused."""

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from chosen_device import ACCELERATOR, DEVICE
from fitting import LEVELS, assert_same, fit, trained
from foreign import Batch, Foreign, batch
from torch import Tensor, nn
from torch.nn import functional as F
from two_networks import Two

from mtlzoo.callbacks import ConflictMonitor, GradientSurgery, LossBalancing, rules


class Apart(Two):
    together = False


class TwoOfTwo(Two):
    second = 2


class TwoOfTwoApart(TwoOfTwo):
    together = False


class FirstAlone(Two):
    """The first network as if there were no other."""

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        optimizers: Any = self.optimizers()
        optimizers[0].zero_grad()
        self.manual_backward(self.losses(batch))
        optimizers[0].step()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("rule", [lambda: rules.MGDA(), lambda: rules.GradVac(), lambda: rules.GradNorm()])
@pytest.mark.parametrize(("together", "apart"), [(Two, Apart), (TwoOfTwo, TwoOfTwoApart)])
def test_two_networks_have_a_vector_each(together: type[Two], apart: type[Two], rule: Any, level: Any) -> None:
    assert_same(trained(apart, GradientSurgery(rule(), level)), trained(together, GradientSurgery(rule(), level)))
    alone = trained(FirstAlone, GradientSurgery(rule(), level))
    both = trained(Two, GradientSurgery(rule(), level))
    assert_same(alone.trunk, both.trunk)


class TwoMicro(Two):
    """Two halves of a batch before the steps, the networks in turns."""

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        optimizers: Any = self.optimizers()
        for optimizer in optimizers:
            optimizer.zero_grad()
        for half in range(2):
            part = {k: v.chunk(2)[half] for k, v in batch.items()}
            self.manual_backward(self.losses(part) / 2)
            self.manual_backward(self.other_losses(part) / 2)
        for optimizer in optimizers:
            optimizer.step()


def test_micro_batches_of_two_networks_in_turns() -> None:
    assert_same(
        trained(Two, GradientSurgery(rules.GradVac())), trained(TwoMicro, GradientSurgery(rules.GradVac())), 1e-9
    )


def test_the_state_of_two_vectors_resumes(tmp_path: Path) -> None:
    ends = []
    for stop in (False, True):
        torch.manual_seed(0)
        module, surgery = Two(), GradientSurgery(rules.GradVac(), "parameter")
        trainer = fit(module, surgery, steps=3, max_epochs=1 if stop else 2)
        if stop:
            trainer.save_checkpoint(tmp_path / "a.ckpt")
            module, surgery = Two().double(), GradientSurgery(rules.GradVac(), "parameter")
            data: Any = torch.utils.data.DataLoader([batch(12, s) for s in range(3)], batch_size=None)  # type: ignore[arg-type]
            options: dict[str, Any] = dict.fromkeys(
                ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
            )
            again = L.Trainer(
                max_epochs=2, accelerator=ACCELERATOR, precision="64-true", callbacks=[surgery], **options
            )
            again.fit(module, data, ckpt_path=tmp_path / "a.ckpt", weights_only=True)
        ends.append(module.to(DEVICE))
    assert_same(ends[0], ends[1], 0.0)


def test_another_rule_or_level_is_no_continuation() -> None:
    surgery = GradientSurgery(rules.GradVac())
    trained(Foreign, surgery)
    for other in (GradientSurgery(rules.PCGrad()), GradientSurgery(rules.GradVac(), "parameter")):
        with pytest.raises(ValueError, match=r"the checkpoint was made with .*GradVac.*leave ckpt_path out"):
            other.load_state_dict(surgery.state_dict())


def test_a_checkpoint_of_an_older_version_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="made with an older version of mtlzoo, and this training has"):
        GradientSurgery(rules.GradVac()).load_state_dict({"rule": {}, "weights": None, "steps": 3})


def test_tasks_in_another_order_are_no_continuation() -> None:
    surgery = GradientSurgery(rules.GradVac(), tasks=["a", "b", "c"])
    trained(Foreign, surgery)
    other = GradientSurgery(rules.GradVac(), tasks=["b", "a", "c"])
    other.load_state_dict(surgery.state_dict())
    with pytest.raises(ValueError, match="Give them in the same order"):
        trained(Foreign, other)


class Changing(Foreign):
    """Leaves a task out of every other batch."""

    def losses(self, batch: Batch) -> Tensor:
        losses = super().losses(batch)
        return losses if self.global_step % 2 == 0 else torch.stack(list(losses.unbind())[:2])


@pytest.mark.parametrize(
    ("surgery", "options"),
    [
        (lambda: GradientSurgery(rules.PCGrad(), tasks=["a", "b", "c"]), {}),
        (lambda: GradientSurgery(rules.MGDA(), every_n_steps=2), {}),
        (lambda: GradientSurgery(rules.GradVac()), {}),
        (lambda: GradientSurgery(rules.MGDA(), at="representation", modules=["trunk"]), {}),
    ],
)
def test_tasks_that_change_are_refused(surgery: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"2 losses where there were 3 before.*Give all of them in every step"):
        trained(Changing, surgery(), **options)


class Growing(Foreign):
    """Gets another shared layer, and a table, with the second epoch."""

    def on_train_epoch_start(self) -> None:
        if self.current_epoch == 1:
            torch.manual_seed(1)
            self.new = nn.Linear(6, 6).double().to(self.device)
            self.rows = nn.Embedding(20, 6).double().to(self.device)
            new = [*self.new.parameters(), *self.rows.parameters()]
            self.trainer.optimizers[0].add_param_group({"params": new})

    def outputs(self, batch: Batch) -> list[Tensor]:
        h = self.trunk(batch["x"])
        h = self.new(h) + self.rows(batch["ids"][:, 0]) if hasattr(self, "new") else h
        return [head(h).squeeze(1) for head in self.heads]


class GrowingPlain(Growing):
    def losses(self, batch: Batch) -> Tensor:
        return super().losses(batch).sum()


@pytest.mark.parametrize("level", LEVELS)
def test_a_shared_layer_that_comes_later_trains(level: Any) -> None:
    assert_same(
        trained(GrowingPlain, max_epochs=2), trained(Growing, GradientSurgery(rules.Sum(), level), max_epochs=2), 1e-9
    )
    surgery = GradientSurgery(rules.GradVac(), level)
    module = trained(Growing, surgery, max_epochs=2)
    assert module.new.weight.grad is not None
    (state,) = surgery.state_dict()["vectors"]
    assert {"new.weight", "rows.weight"} <= set(state["order"])


@pytest.mark.parametrize("losses", [lambda v: torch.tensor(v.tolist()), lambda v: v.detach()])
@pytest.mark.parametrize("callback", [lambda: GradientSurgery(rules.PCGrad()), lambda: LossBalancing(rules.UW())])
def test_losses_without_a_graph_are_refused(losses: Any, callback: Any) -> None:
    class Cut(Foreign):
        def losses(self, batch: Batch) -> Tensor:
            cut: Tensor = losses(super().losses(batch))
            return cut

    with pytest.raises(ValueError, match="no loss has a gradient"):
        trained(Cut, callback())


def test_one_task_without_a_graph_is_told() -> None:
    class Cut(Foreign):
        def losses(self, batch: Batch) -> Tensor:
            first, second, third = super().losses(batch).unbind()
            return torch.stack([first, second.detach(), third])

    with pytest.warns(UserWarning, match=r"losses of \['1'\] had no gradient in the whole epoch"):
        trained(Cut, GradientSurgery(rules.PCGrad()))


class Unobserved(Foreign):
    """Nobody observes two tasks in the second and third batch: a constant, or a zero that hangs on the trunk."""

    constant = True

    def losses(self, batch: Batch) -> Tensor:
        first, second, third = super().losses(batch).unbind()
        if self.global_step in (1, 2):
            zeros = first.new_zeros(()) if self.constant else 0 * self.trunk(batch["x"]).sum()
            return torch.stack([first, zeros, zeros.clone()])
        return torch.stack([first, second, third])


class UnobservedZero(Unobserved):
    constant = False


def test_what_is_shared_stays_so_where_one_task_is_observed() -> None:
    fixed = [0.1, 0.2, 0.3]
    one, other = (trained(m, GradientSurgery(rules.Fixed(fixed))) for m in (Unobserved, UnobservedZero))
    assert_same(one.trunk, other.trunk)


@pytest.mark.parametrize("callback", [lambda: GradientSurgery(rules.PCGrad()), lambda: LossBalancing(rules.UW())])
def test_a_loss_per_row_is_refused(callback: Any) -> None:
    class PerRow(Foreign):
        def losses(self, batch: Batch) -> Tensor:
            return F.mse_loss(self.outputs(batch)[0], batch["y"][:, 0], reduction="none")

    with pytest.raises(ValueError, match=r"12 losses from one operation on a batch of 12 rows.*tasks=\[\.\.\.\]"):
        trained(PerRow, callback())
    named = GradientSurgery(rules.Sum(), tasks=list("abcdefghijkl"))
    trained(PerRow, named)


def test_a_backward_of_its_own_is_refused() -> None:
    class Own(Foreign):
        def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
            loss.sum().backward(retain_graph=True)

    class Sums(Own):
        sums_losses = True

    with pytest.raises(ValueError, match="Own has one of its own, which would never be called"):
        trained(Own, GradientSurgery(rules.Sum()))
    with pytest.raises(ValueError, match="Own has one of its own"):  # it does not say so of the one that it inherits
        trained(Sums, GradientSurgery(rules.Sum()))
    trained(Own, LossBalancing(rules.UW()))


def test_the_first_step_says_what_was_found(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        trained(Foreign, GradientSurgery(rules.PCGrad(), tasks=["a", "b", "c"]))
    lines = [record.message for record in caplog.records if record.message.startswith("GradientSurgery")]
    assert lines == ["GradientSurgery(PCGrad): 3 tasks (a, b, c), 4 shared, 6 private parameters, 0 without gradient"]


def test_a_monitor_watches_one_vector() -> None:
    with pytest.raises(ValueError, match="ConflictMonitor watches one vector of losses"):
        trained(Two, GradientSurgery(rules.Sum()), ConflictMonitor())
