"""Ranking metrics against a loop over users."""

import math
import random

import pytest
import torch

from mtlzoo.metrics import RankingMetrics


def by_hand(top: list[list[int]], relevant: list[list[int]], k: int) -> dict[str, float]:
    sums = {"recall": 0.0, "hr": 0.0, "ndcg": 0.0, "mrr": 0.0}
    users = 0
    for shown, wanted in zip(top, relevant, strict=True):
        known = {i for i in wanted if i > 1}
        number = len(known) + wanted.count(1)
        if not number:
            continue
        users += 1
        hits = [i in known for i in shown[:k]]
        gain = sum(1 / math.log2(place + 2) for place, hit in enumerate(hits) if hit)
        ideal = sum(1 / math.log2(place + 2) for place in range(min(k, number)))
        sums["recall"] += sum(hits) / number
        sums["hr"] += any(hits)
        sums["ndcg"] += gain / ideal
        sums["mrr"] += next((1 / (place + 1) for place, hit in enumerate(hits) if hit), 0.0)
    return {f"{name}@{k}": value / users for name, value in sums.items()}


def drawn(users: int, items: int, shown: int, wanted: int, seed: int) -> tuple[list[list[int]], list[list[int]]]:
    draw = random.Random(seed)
    top = [(draw.sample(range(2, items), min(shown, items - 2)) + [0] * shown)[:shown] for _ in range(users)]
    relevant = [draw.choices(range(items), k=wanted) for _ in range(users)]  # with 0, 1 and repeated ids
    return top, relevant


@pytest.mark.parametrize("items", [8, 30, 500])
@pytest.mark.parametrize("wanted", [1, 7, 60])
def test_equals_a_loop_over_users(items: int, wanted: int) -> None:
    metrics = RankingMetrics((1, 5, 20))
    everything: tuple[list[list[int]], list[list[int]]] = ([], [])
    for seed in range(3):
        top, relevant = drawn(40, items, 20, wanted, seed)
        metrics.update(torch.tensor(top), torch.tensor(relevant, dtype=torch.int32))
        everything[0].extend(top)
        everything[1].extend(relevant)
    got = {name: float(value) for name, value in metrics.compute().items()}
    expected = {name: value for k in (1, 5, 20) for name, value in by_hand(*everything, k).items()}
    assert got == pytest.approx(expected, abs=1e-12)


def test_a_perfect_list_is_one() -> None:
    metrics = RankingMetrics((2, 4))
    metrics.update(torch.tensor([[9, 4, 7, 3]]), torch.tensor([[4, 9, 0, 0]]))
    assert {name: float(value) for name, value in metrics.compute().items()} == dict.fromkeys(
        (f"{name}@{k}" for name in ("recall", "hr", "ndcg", "mrr") for k in (2, 4)), 1.0
    )


def test_unknown_items_count_and_are_never_hit() -> None:
    metrics = RankingMetrics((2,))
    metrics.update(torch.tensor([[5, 1]]), torch.tensor([[1, 1, 5, 5]]))
    assert float(metrics.compute()["recall@2"]) == pytest.approx(1 / 3)


def test_users_with_nothing_to_find_are_left_out() -> None:
    metrics = RankingMetrics((1,))
    metrics.update(torch.tensor([[2], [3]]), torch.tensor([[2, -1], [0, -1]]))
    metrics.update(torch.tensor([[2]]), torch.zeros(1, 0, dtype=torch.int64))
    assert float(metrics.compute()["recall@1"]) == 1.0


def test_undefined_without_users() -> None:
    metrics = RankingMetrics((1,))
    metrics.update(torch.tensor([[2]]), torch.tensor([[0]]))
    assert all(math.isnan(value) for value in metrics.compute().values())


def test_sums_stay_exact_in_a_module_of_low_precision() -> None:
    metrics = RankingMetrics((1,)).to(torch.bfloat16)
    for _ in range(300):
        metrics.update(torch.tensor([[2]]), torch.tensor([[2]]))
    assert metrics.users == 300
    assert metrics.compute()["recall@1"] == 1.0


def test_refuses_lists_that_are_too_short() -> None:
    with pytest.raises(ValueError, match="3 items per user; it needs 5"):
        RankingMetrics((5,)).update(torch.zeros(1, 3, dtype=torch.int64), torch.ones(1, 1, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"ks=\[0\]"):
        RankingMetrics((0,))


@pytest.mark.parametrize(
    ("broken", "undefined"), [([False, False], False), ([True, False], True), ([False, True], False)]
)
def test_a_user_whose_scores_are_nan_leaves_all_undefined(broken: list[bool], undefined: bool) -> None:
    """Items without a score are never shown: that would read as a ranking without a hit. The second finds nothing."""
    metrics = RankingMetrics((2,))
    metrics.update(torch.tensor([[0, 0], [0, 0]]), torch.tensor([[5, 6], [0, 0]]), torch.tensor(broken))
    metrics.update(torch.tensor([[7, 8]]), torch.tensor([[7, 0]]), torch.tensor([False]))
    assert all(math.isnan(value) == undefined for value in metrics.compute().values())
