"""The fused lookup against one `nn.Embedding` per table."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mtlzoo.embedding import FeatureEmbedding
from mtlzoo.schema import Categorical, FeatureSchema, Numeric, Sequence
from mtlzoo.tasks import Task

TASKS = (Task("click"),)


def schema(**sequence: Any) -> FeatureSchema:
    return FeatureSchema(
        (
            Categorical("user", 7),
            Numeric("age"),
            Categorical("item", 5),
            Sequence("history", 5, 3, table="item", **sequence),
            Numeric("price"),
        ),
        TASKS,
    )


def batch(rows: int = 6) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    history = torch.randint(2, 5, (rows, 3), generator=generator, dtype=torch.int32)
    history[0] = 0
    history[1, 1:] = 0
    return {
        "categorical": torch.stack(
            [torch.randint(1, n, (rows,), generator=generator, dtype=torch.int32) for n in (7, 5)], 1
        ),
        "numeric": torch.randn(rows, 2, generator=generator),
        "history": history,
    }


def test_tables_are_shared_by_name_only() -> None:
    embedding = FeatureEmbedding(schema(), 4)
    assert embedding.offsets == {"user": 0, "item": 7}
    assert embedding.table is not None
    assert embedding.table.weight.shape == (12, 4)
    assert embedding.width == 20


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("pooling", ["mean", "sum", "max"])
def test_equals_separate_tables(pooling: Any, sparse: bool) -> None:
    embedding = FeatureEmbedding(schema(pooling=pooling), 4, sparse=sparse).double()
    assert embedding.table is not None
    assert embedding.numeric is not None
    torch.nn.init.normal_(embedding.table.weight)
    rows = batch()
    rows["numeric"] = rows["numeric"].double()
    got = embedding(rows)
    weight = embedding.table.weight.detach().clone().requires_grad_()
    user, item = weight[:7], weight[7:]
    history, present = item[rows["history"].long()], (rows["history"] != 0).unsqueeze(-1)
    number = present.sum(1).clamp(min=1)
    pooled = {
        "sum": (history * present).sum(1),
        "mean": (history * present).sum(1) / number,
        "max": torch.stack(
            [h[p.squeeze(-1)].amax(0) if p.any() else h.new_zeros(4) for h, p in zip(history, present, strict=True)]
        ),
    }[pooling]
    ids = rows["categorical"].long()
    numbers = (rows["numeric"].unsqueeze(-1) * embedding.numeric.detach()).flatten(1)
    expected = torch.cat([user[ids[:, 0]], item[ids[:, 1]], pooled, numbers], 1)
    torch.testing.assert_close(got, expected)
    direction = torch.randn_like(got)
    got.backward(direction)
    expected.backward(direction)
    gradient = embedding.table.weight.grad
    assert gradient is not None
    assert gradient.is_sparse == sparse
    torch.testing.assert_close(gradient.to_dense(), weight.grad)


def test_padding_rows_start_at_zero_and_stay() -> None:
    embedding = FeatureEmbedding(schema(), 4)
    assert embedding.table is not None
    optimizer = torch.optim.Adam(embedding.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        embedding(batch()).square().sum().backward()
        optimizer.step()
    assert not embedding.table.weight[[0, 7]].any()
    assert embedding.table.weight[1:7].any()


def test_attention_weighs_items_by_the_target() -> None:
    embedding = FeatureEmbedding(schema(pooling="attention", target="item"), 4)
    assert embedding.table is not None
    torch.nn.init.normal_(embedding.table.weight)
    rows = batch()
    first = embedding(rows)[:, 8:12]
    assert not first[0].any(), "an empty history is zero"
    rows["history"] = rows["history"].flip(1)
    torch.testing.assert_close(embedding(rows)[:, 8:12], first, msg="the order of a history plays no role")
    rows["categorical"][:, 1] = rows["categorical"][:, 1] % 4 + 1
    assert (embedding(rows)[1:, 8:12] != first[1:]).any(1).all(), "another target, other weights"


@pytest.mark.parametrize("wrong", [-1, 5, 100])
def test_refuses_ids_outside_their_table(wrong: int) -> None:
    rows = batch()
    rows["categorical"][2, 1] = wrong
    with pytest.raises(RuntimeError, match="outside its feature's table"):
        FeatureEmbedding(schema(), 4)(rows)


def test_initialisation_is_the_stated_one() -> None:
    big = FeatureSchema((Categorical("user", 20_000), *(Numeric(f"n{i}") for i in range(2_000))), TASKS)
    embedding = FeatureEmbedding(big, 16)
    assert embedding.table is not None
    assert embedding.numeric is not None
    assert embedding.table.weight.std().item() == pytest.approx(1e-4, rel=0.02)
    assert embedding.numeric.std().item() == pytest.approx((2 / 17) ** 0.5, rel=0.02)


def test_numbers_alone_are_enough() -> None:
    embedding = FeatureEmbedding(FeatureSchema((Numeric("age"),), TASKS), 4)
    assert embedding.table is None
    assert embedding({"numeric": torch.ones(3, 1)}).shape == (3, 4)
    with pytest.raises(ValueError, match="no features"):
        FeatureEmbedding(FeatureSchema((), TASKS), 4)


def test_mean_pooling_is_what_embedding_bag_does() -> None:
    embedding = FeatureEmbedding(schema(), 4)
    assert embedding.table is not None
    torch.nn.init.normal_(embedding.table.weight)
    rows = batch()
    item = embedding.table.weight[7:]
    bag = F.embedding_bag(rows["history"].long(), item, mode="mean", padding_idx=0)
    torch.testing.assert_close(embedding(rows)[:, 8:12], bag)
