"""The chunked ranking of all items equals sorting them all."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from mtlzoo.ranking import by_key, full_ranking
from mtlzoo.ranking.full_ranking import top_items, top_scores


def sorted_whole(users: Tensor, items: Tensor, k: int, excluded: Tensor | None, first: int = 2) -> list[list[int]]:
    """Item by item: the score from high to low, then the id from low to high."""
    scores = (items @ users.T).T.tolist()
    found = []
    for row, each in enumerate(scores):
        hidden = set() if excluded is None else set(excluded[row].tolist())
        candidates = [i for i in range(first, len(each)) if i not in hidden and each[i] > -float("inf")]
        candidates.sort(key=lambda i: (-each[i], i))
        found.append((candidates + [0] * k)[:k])
    return found


@pytest.mark.parametrize("chunk", [1, 33, 50, 64, 10_000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_equals_sorting(dtype: torch.dtype, chunk: int) -> None:
    draw = torch.Generator().manual_seed(chunk)
    users, items = (torch.randn(n, 8, generator=draw).to(dtype) for n in (30, 333))
    excluded = torch.randint(0, 333, (30, 20), generator=draw, dtype=torch.int32)
    got = top_items(users, items, 12, excluded, chunk=chunk)
    assert got.tolist() == sorted_whole(users, items, 12, excluded)


@pytest.mark.parametrize("scores", [1, 5000, 10**6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_ranking_by_keys_equals_sorting(dtype: torch.dtype, scores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ties, both zeros, scores that are no numbers, and ids that are hidden twice or are no items."""
    monkeypatch.setattr(by_key, "SCORES", scores)
    draw = torch.Generator().manual_seed(scores)
    users, items = (torch.randint(-2, 3, (n, 3), generator=draw).to(dtype) for n in (40, 333))
    items[[5, 9, 12]] = torch.tensor([torch.nan, torch.inf, -torch.inf], dtype=dtype)[:, None]
    excluded = torch.randint(0, 333, (40, 60), generator=draw)
    found = by_key.top_by_key(users, items, 15, excluded, 2)[1]
    assert found.tolist() == sorted_whole(users, items, 15, excluded)
    assert torch.equal(by_key.top_by_key(users, items, 15, excluded + 300 * (excluded == 1), 2)[1], found)
    assert by_key.top_by_key(users, items[:5], 15, None, 2)[1].tolist() == sorted_whole(users, items[:5], 15, None)


def test_scores_far_apart_keep_their_order() -> None:
    scale = torch.tensor([-3e38, -1.0, -1e-45, -0.0, 0.0, 1e-45, 1.0, 3e38])
    found = by_key.top_by_key(torch.ones(1, 1), scale[:, None], 8, None, 0)[1]
    assert found.tolist() == [[7, 6, 5, 3, 4, 2, 1, 0]]


@pytest.mark.parametrize("chunk", [32, 48, 1000])
def test_of_equal_items_the_smaller_id_is_first(chunk: int) -> None:
    draw = torch.Generator().manual_seed(0)
    users = torch.randint(-1, 2, (40, 3), generator=draw).float()
    items = torch.randint(-1, 2, (400, 3), generator=draw).float()
    excluded = torch.randint(0, 400, (40, 60), generator=draw)
    assert top_items(users, items, 15, excluded, chunk=chunk).tolist() == sorted_whole(users, items, 15, excluded)
    assert top_items(users * 0, items, 3, chunk=chunk).tolist() == [[2, 3, 4]] * 40


@pytest.mark.parametrize("items", [2051, 5000])
def test_equals_sorting_in_chunks_of_the_default_size(items: int) -> None:
    """More users than are taken at a time, and many equal scores."""
    draw = torch.Generator().manual_seed(items)
    users, vectors = (torch.randint(-2, 3, (n, 3), generator=draw).float() for n in (530, items))
    excluded = torch.randint(0, items, (530, 30), generator=draw)
    scores = (users @ vectors.T).scatter(1, excluded, -torch.inf)
    scores[:, :2] = -torch.inf
    assert torch.equal(
        top_items(users, vectors, 40, excluded), scores.sort(dim=1, descending=True, stable=True)[1][:, :40]
    )


def test_items_from_worst_to_best_are_not_all_sorted(monkeypatch: Any) -> None:
    """A vocabulary may be ordered by how well its items do."""
    sorted_in = 0
    made = full_ranking._merged

    def counted(*arguments: Tensor) -> Any:
        nonlocal sorted_in
        sorted_in += len(arguments[2])
        return made(*arguments)

    monkeypatch.setattr(full_ranking, "_merged", counted)
    items = torch.arange(100_000.0)[:, None]
    for order in (items, -items, items * 0):
        sorted_in = 0
        top_items(torch.ones(10, 1), order, 5)
        assert sorted_in < 10 * 20_000  # a fifth


@pytest.mark.parametrize("ranked", [top_scores, partial(by_key.top_by_key, first=2)])
def test_scores_are_those_of_the_items(ranked: Any) -> None:
    """Those that are hidden, or that there are not, have none."""
    draw = torch.Generator().manual_seed(0)
    users, items = (torch.randn(n, 4, generator=draw) for n in (530, 20))
    scores, ids = ranked(users, items, 21, torch.randint(0, 20, (530, 3), generator=draw))
    products = (users @ items.T).gather(1, ids).masked_fill(ids == 0, -torch.inf)
    torch.testing.assert_close(scores, products)
    assert (scores.diff(dim=1).nan_to_num(0) <= 0).all()


def test_vectors_that_need_a_gradient() -> None:
    users, items = torch.randn(3, 2, requires_grad=True), torch.randn(9, 2, requires_grad=True)
    assert top_items(users, items, 2).tolist() == sorted_whole(users, items, 2, None)


def test_refuses_what_it_cannot_rank() -> None:
    users, items = torch.randn(3, 2), torch.randn(9, 2)
    with pytest.raises(ValueError, match="k=0"):
        top_items(users, items, 0)
    for rows in (2, 4):
        with pytest.raises(ValueError, match=f"excluded has {rows} rows and users 3"):
            top_items(users, items, 1, torch.full((rows, 1), 4))


def test_more_users_than_are_taken_at_a_time() -> None:
    draw = torch.Generator().manual_seed(0)
    users, items = (torch.randn(n, 4, generator=draw, dtype=torch.float64) for n in (1100, 90))
    assert top_items(users, items, 5).tolist() == sorted_whole(users, items, 5, None)


def test_fewer_items_than_asked_for() -> None:
    users, items = torch.ones(2, 1), torch.tensor([[9.0], [8.0], [1.0], [3.0], [2.0]])
    excluded = torch.tensor([[3, 0], [3, 3]])
    assert top_items(users, items, 4, excluded).tolist() == [[4, 2, 0, 0]] * 2
    assert top_items(users, items[:2], 3).tolist() == [[0, 0, 0]] * 2
    assert top_items(users[:0], items, 3).shape == (0, 3)


@pytest.mark.parametrize("bad", [float("nan"), -float("inf")])
def test_items_without_a_score_are_never_shown(bad: float) -> None:
    items = torch.arange(1.0, 101)[:, None]
    items[[5, 40, 99]] = bad
    got = top_items(torch.ones(1, 1), items, 97, chunk=32)
    assert got.tolist() == [[i for i in range(98, 1, -1) if i not in (5, 40)] + [0, 0]]


def test_infinite_scores_come_first() -> None:
    items = torch.arange(100.0)[:, None]
    items[[3, 50]] = float("inf")
    assert top_items(torch.ones(1, 1), items, 3, chunk=32).tolist() == [[3, 50, 99]]


def test_memory_does_not_grow_with_the_items(monkeypatch: Any) -> None:
    """No tensor as wide as there are items, however many."""
    largest = 0
    made = torch.Tensor.new_empty

    def watched(self: Tensor, *size: Any, **options: Any) -> Tensor:
        nonlocal largest
        out = made(self, *size, **options)
        largest = max(largest, out.numel())
        return out

    monkeypatch.setattr(torch.Tensor, "new_empty", watched)
    top_items(torch.randn(600, 2, device="cpu"), torch.randn(50_000, 2, device="cpu"), 5)
    assert 0 < largest <= 512 * 2048
