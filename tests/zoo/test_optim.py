"""Row-wise optimisers against torch's dense ones, clipping, and two optimisers as one."""

import copy
from typing import Any

import pytest
import torch
from chosen_device import DEVICE
from torch import Tensor, nn

from mtlzoo.optim import DENSE, RowOptimizer, Together, clip_gradients, coalesce


def tables(seed: int = 0) -> tuple[nn.Embedding, nn.Embedding]:
    torch.manual_seed(seed)
    dense = nn.Embedding(9, 4).double()
    sparse = nn.Embedding(9, 4, sparse=True).double()
    sparse.load_state_dict(dense.state_dict())
    return dense, sparse


def backward(table: nn.Embedding, ids: Tensor) -> None:
    table.zero_grad()
    (table(ids) * torch.arange(1, 5)).sin().sum().backward()


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("name", sorted(DENSE))
def test_rows_in_every_batch_move_as_under_the_dense_rule(name: Any, decay: float) -> None:
    dense, sparse = tables()
    reference = DENSE[name](dense.parameters(), lr=0.05, weight_decay=decay)  # type: ignore[call-arg]
    ours = RowOptimizer(sparse.parameters(), name, lr=0.05, weight_decay=decay)
    ids = torch.tensor([3, 1, 3, 7, 7, 7])
    before = sparse.weight.detach().clone()
    for _ in range(5):
        for table, optimizer in ((dense, reference), (sparse, ours)):
            backward(table, ids)
            optimizer.step()
    touched = [1, 3, 7]
    torch.testing.assert_close(sparse.weight[touched], dense.weight[touched], rtol=1e-12, atol=1e-12)
    others = [row for row in range(9) if row not in touched]
    assert torch.equal(sparse.weight[others], before[others]), "untouched rows stay, decay included"


def test_adam_is_torchs_sparse_adam() -> None:
    first, second = tables()[1], tables()[1]
    ours, reference = (
        RowOptimizer(first.parameters(), "adam", lr=0.1),
        torch.optim.SparseAdam(second.parameters(), lr=0.1),
    )
    for ids in ([1, 2, 2], [2, 5], [8, 8, 1], [3]):
        for table, optimizer in ((first, ours), (second, reference)):
            backward(table, torch.tensor(ids))
            optimizer.step()
    # It adds eps before the bias correction, torch's dense Adam and ours after it.
    torch.testing.assert_close(first.weight, second.weight, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", sorted(DENSE))
def test_state_survives_saving(name: Any) -> None:
    _, table = tables()
    optimizer = RowOptimizer(table.parameters(), name, lr=0.1)
    backward(table, torch.tensor([1, 2]))
    optimizer.step()
    _, second = tables(1)
    second.load_state_dict(table.state_dict())
    resumed = RowOptimizer(second.parameters(), name, lr=0.1)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for one, its in ((table, optimizer), (second, resumed)):
        backward(one, torch.tensor([2, 3]))
        its.step()
    assert torch.equal(table.weight, second.weight)


def test_coalesce_is_torchs() -> None:
    _, table = tables()
    backward(table, torch.tensor([5, 1, 5, 0, 1, 5]))
    assert table.weight.grad is not None
    mine, theirs = coalesce(table.weight.grad), table.weight.grad.coalesce()
    assert mine.is_coalesced() == (DEVICE.type == "cpu")
    torch.testing.assert_close(mine._values().norm(), theirs._values().norm(), rtol=1e-14, atol=0)
    mine = mine.coalesce()
    assert torch.equal(mine._indices(), theirs._indices())
    torch.testing.assert_close(mine._values(), theirs._values(), rtol=1e-14, atol=1e-14)


def test_clipping_counts_sparse_gradients_once_per_row() -> None:
    dense, sparse = tables()
    plain = nn.Linear(4, 3).double()
    other = nn.Linear(4, 3).double()
    other.load_state_dict(plain.state_dict())
    for table, linear in ((dense, plain), (sparse, other)):
        linear.zero_grad()
        table.zero_grad()
        linear(table(torch.tensor([2, 2, 6, 2]))).square().sum().backward()
    expected = nn.utils.clip_grad_norm_([*dense.parameters(), *plain.parameters()], 0.5)
    norm = clip_gradients([*sparse.parameters(), *other.parameters()], 0.5)
    torch.testing.assert_close(norm, expected)
    assert sparse.weight.grad is not None
    torch.testing.assert_close(sparse.weight.grad.to_dense(), dense.weight.grad)
    torch.testing.assert_close(other.weight.grad, plain.weight.grad)


def test_clipping_leaves_small_and_unbounded_gradients_alone() -> None:
    linear = nn.Linear(3, 2)
    linear(torch.ones(1, 3)).sum().backward()
    assert linear.weight.grad is not None
    before = linear.weight.grad.clone()
    clip_gradients(linear.parameters(), 100.0)
    assert torch.equal(linear.weight.grad, before)
    linear.weight.grad[0, 0] = torch.inf
    assert clip_gradients(linear.parameters(), 1.0).isinf()
    assert linear.weight.grad[0, 1] == before[0, 1]


def test_together_steps_schedules_and_restores_its_parts() -> None:
    def build() -> tuple[nn.Linear, nn.Embedding, Together]:
        torch.manual_seed(0)
        linear, table = nn.Linear(4, 1), nn.Embedding(5, 4, sparse=True)
        parts = [torch.optim.Adam(linear.parameters(), lr=0.1), RowOptimizer(table.parameters(), "adagrad", lr=0.2)]
        return linear, table, Together(parts)

    def step(linear: nn.Linear, table: nn.Embedding, optimizer: Together) -> None:
        optimizer.zero_grad()
        linear(table(torch.tensor([1, 3]))).sum().backward()
        optimizer.step()

    linear, table, optimizer = build()
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.5**epoch)
    step(linear, table, optimizer)
    schedule.step()
    assert [group["lr"] for part in optimizer.parts for group in part.param_groups] == [0.05, 0.1]
    assert set(optimizer.state) == {linear.weight, linear.bias, table.weight}
    again_linear, again_table, again = build()
    again_schedule = torch.optim.lr_scheduler.LambdaLR(again, lambda epoch: 0.5**epoch)
    again_linear.load_state_dict(linear.state_dict())
    again_table.load_state_dict(table.state_dict())
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    again_schedule.load_state_dict(schedule.state_dict())
    for one in ((linear, table, optimizer), (again_linear, again_table, again)):
        step(*one)
    for part in (schedule, again_schedule):
        part.step()
    assert torch.equal(linear.weight, again_linear.weight)
    assert torch.equal(table.weight, again_table.weight)
    assert [group["lr"] for group in again.parts[1].param_groups] == [0.05]
    with pytest.raises(ValueError, match="1 optimisers, this model has 2"):
        again.load_state_dict({"parts": [{}]})
