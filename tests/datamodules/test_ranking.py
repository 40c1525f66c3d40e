"""Data of users and items: draws, links, and what evaluation is given."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from fixtures.friends import ITEMS, Friends
from mtlzoo.datamodules import DataError
from mtlzoo.datamodules.loading.draws import Stream, negatives
from mtlzoo.datamodules.loading.ranking import OneAfterAnother
from mtlzoo.datamodules.prepare.links import LinkTable
from mtlzoo.datamodules.prepare.lists import Lists


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Friends:
    root = tmp_path_factory.mktemp("friends")
    return Friends(root, prepared=root, batch_size=64, negatives=3)


def raw(data: Friends, name: str) -> dict[int, int]:
    """Raw id of each id."""
    table = pl.read_parquet(data.data.folder / "vocabulary" / f"{name}.parquet")
    return dict(zip(table["id"].to_list(), table["value"].to_list(), strict=True))


def assert_same(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


def epoch(data: Friends, number: int = 0, **place: int) -> list[dict[str, torch.Tensor]]:
    loader = data.train_dataloader()
    loader.rank, loader.world_size = place.get("rank", 0), place.get("world_size", 1)
    loader.set_epoch(number)
    return list(loader)


def test_negatives_are_items_without_a_positive_interaction_in_train(data: Friends) -> None:
    users, items = raw(data, "user"), raw(data, "item")
    positive = {
        (u, i)
        for f in data.read()
        for u, i, s, r in f.select("user", "item", "split", "recommend").rows()
        if s == "train" and r == 1
    }
    counts = np.zeros(ITEMS + 2)
    for number in range(20):
        for batch in epoch(data, number):
            assert batch["negative"].shape == (len(batch["row"]), 3)
            for user, drawn in zip(batch["categorical"][:, 0].tolist(), batch["negative"].tolist(), strict=True):
                for item in drawn:
                    assert (users[user], items[item]) not in positive
                    counts[item] += 1
    assert counts[:2].sum() == 0
    assert (counts[2 : 2 + len(items)] > 0).all()


def test_uniform_among_what_is_allowed() -> None:
    allowed = Lists.of(np.array([7, 7]), np.array([2, 5]), 8)
    stream = Stream(np.arange(60_000), 0, 0, "x")
    found = negatives(np.full(60_000, 7), 8, lambda a, b: ~allowed.contain(a, b), stream)
    counts = np.bincount(found, minlength=8)
    assert set(np.flatnonzero(counts)) == {3, 4, 6, 7}
    assert np.abs(counts[[3, 4, 6, 7]] - 15_000).max() < 500  # 4.7 deviations


def test_the_last_allowed_item_is_found_and_nothing_where_there_is_none() -> None:
    nearly = Lists.of(np.zeros(9_997, np.int64), np.arange(2, 9_999), 1)
    stream = Stream(np.arange(50), 0, 0, "x")
    assert (negatives(np.full(50, 1), 10_000, lambda a, b: ~nearly.contain(a * 0, b), stream) == 9_999).all()
    assert not negatives(np.full(50, 1), 9_999, lambda a, b: ~nearly.contain(a * 0, b), stream).any()
    assert not negatives(np.zeros(5, np.int64), 10, lambda a, b: b > 0, stream).any()


def test_draws_are_new_every_epoch_and_the_same_when_repeated(data: Friends) -> None:
    first, again, second = (torch.cat([b["negative"] for b in epoch(data, n)]) for n in (0, 0, 1))
    assert torch.equal(first, again)
    assert (first != second).any(1).float().mean() > 0.9


@pytest.mark.parametrize("source", ["interactions", "links"])
def test_two_processes_see_what_one_sees(data: Friends, source: Any) -> None:
    data.links_from = source
    try:
        data.batch_size = 128
        alone = epoch(data, 3)
        data.batch_size = 64
        both = [epoch(data, 3, rank=rank, world_size=2) for rank in (0, 1)]
        for whole, *parts in zip(alone, *both, strict=True):
            for name in whole:
                assert_same(whole[name], torch.cat([part[name] for part in parts]))
    finally:
        data.links_from, data.batch_size = "interactions", 64


def test_a_resumed_epoch_draws_what_it_would_have_drawn(data: Friends) -> None:
    whole = epoch(data, 2)
    loader = data.train_dataloader()
    loader.set_epoch(2)
    iterator = iter(loader)
    for _ in range(4):
        next(iterator)
    resumed = data.train_dataloader()
    resumed.load_state_dict(loader.state_dict())
    rest = list(resumed)
    assert len(rest) == len(whole) - 4
    for a, b in zip(whole[4:], rest, strict=True):
        for name in a:
            assert_same(a[name], b[name])


def test_partners_are_linked_and_others_are_not(data: Friends) -> None:
    users, items = raw(data, "user"), raw(data, "item")
    friends = {frozenset(pair) for frame in data.read_links("friends") for pair in frame.rows()}
    groups: dict[int, set[str]] = {}
    for frame in data.read_links("category"):
        for one, group in frame.drop_nulls().rows():
            groups.setdefault(one, set()).add(group)
    seen = 0
    for batch in epoch(data):
        anchors = [a for a in batch["friends"][:, 0].tolist() if a]
        assert len(anchors) == len(set(anchors))
        for anchor, partner, other in batch["friends"].tolist():
            assert (anchor == 0) == (partner == 0)
            if anchor:
                assert frozenset((users[anchor], users[partner])) in friends
                assert anchor != partner != other != anchor
                assert frozenset((users[anchor], users[other])) not in friends
        for anchor, partner, other in batch["category"].tolist():
            if anchor:
                seen += 1
                assert anchor != partner
                assert groups[items[anchor]] & groups[items[partner]]
                assert not groups[items[anchor]] & groups[items[other]]
        own = {i for i in batch["categorical"][:, 1].tolist() if groups.get(items[i])}
        assert set(batch["category"][:, 0].tolist()) - {0} == own
    assert seen > 100


def test_members_of_a_group_are_drawn_alike() -> None:
    table = LinkTable(
        Lists.of(np.array([0, 0, 0, 1]), np.array([2, 3, 4, 5]), 2),
        Lists.of(np.array([2, 3, 4, 5]), np.array([0, 0, 0, 1]), 6),
    )
    draw = np.random.default_rng(0)
    anchors = np.repeat(np.array([2, 3, 4, 5], np.int32), 2_000)
    partners = table.partners(anchors, draw.random(8_000), draw.random(8_000))
    for anchor, others in {2: (3, 4), 3: (2, 4), 4: (2, 3)}.items():
        assert set(partners[anchors == anchor]) == set(others)
        assert abs((partners[anchors == anchor] == others[0]).mean() - 0.5) < 0.06
    assert not partners[anchors == 5].any()  # alone in its group


def test_links_come_from_all_links_alike(data: Friends) -> None:
    other = Friends(data.root, prepared=data.prepared, batch_size=64, links_from="links")
    anchors = torch.cat([b["friends"][:, 0] for number in range(30) for b in epoch(other, number)])
    assert (anchors > 0).all()
    degree = data.links("friends").lists.sizes
    share = np.bincount(anchors.numpy(), minlength=len(degree)) / len(anchors)
    assert np.abs(share - degree / degree.sum()).max() < 0.004


@pytest.mark.parametrize("split", ["val", "test"])
def test_users_are_evaluated_on_what_they_did_not_see(data: Friends, split: str) -> None:
    loader = data.val_dataloader() if split == "val" else data.test_dataloader()
    assert isinstance(loader, OneAfterAnother)
    batches = list(loader)
    assert len(batches) == len(loader)
    frame = pl.concat(data.read()).filter(pl.col("recommend") == 1)
    train, held = frame.filter(pl.col("split") == "train"), frame.filter(pl.col("split") == split)
    users, items = raw(data, "user"), raw(data, "item")
    found = {}
    for batch in batches:
        if "relevant" in batch:
            for user, relevant, seen in zip(batch["user"].tolist(), batch["relevant"], batch["seen"], strict=True):
                found[users[user]] = (relevant[relevant > 0].tolist(), {items[i] for i in seen.tolist() if i})
    for user in set(held["user"].to_list()) & set(users.values()):
        seen_items = set(train.filter(pl.col("user") == user)["item"].to_list())
        wanted = held.filter(pl.col("user") == user)["item"].to_list()
        known = {i for i in wanted if i in items.values()} - seen_items
        unknown = [i for i in wanted if i not in items.values()]
        if not known and not unknown:
            assert user not in found
            continue
        relevant, seen = found.pop(user)
        assert seen == seen_items
        assert {items[i] for i in relevant if i > 1} == known
        assert relevant.count(1) == len(unknown)
    assert not found
    rows = torch.cat([batch["row"] for batch in batches if "row" in batch])
    assert len(rows) == data.data.manifest["rows"][split]


def test_interactions_are_the_distinct_positives_of_train(data: Friends) -> None:
    frame = pl.concat(data.read()).filter((pl.col("recommend") == 1) & (pl.col("split") == "train"))
    pairs = data.interactions
    users, items = raw(data, "user"), raw(data, "item")
    found = {(users[u], items[i]) for u, i in zip(pairs.users.tolist(), pairs.items.tolist(), strict=True)}
    assert found == set(frame.select("user", "item").rows())
    assert len(found) == len(pairs.users)


def test_other_tasks_alone_have_ordinary_batches(data: Friends) -> None:
    plain = Friends(data.root, prepared=data.prepared, kinds=("rating",))
    assert set(next(iter(plain.train_dataloader()))) == {"categorical", "labels", "row"}
    assert set(next(iter(plain.val_dataloader()))) == {"categorical", "labels", "row"}
    assert not plain.schema.links


def test_the_schema_survives_its_dictionary(data: Friends) -> None:
    schema = data.schema
    assert type(schema).from_dict(schema.to_dict()) == schema
    assert [task.label_width for task in schema.tasks] == [1, 0, 0, 1]


def test_refuses_links_that_link_nobody(data: Friends) -> None:
    class Strangers(Friends):
        def read_links(self, name: str) -> Iterator[pl.DataFrame]:
            yield pl.DataFrame({"source": [1000, 1], "target": [1001, 1]})

    with pytest.raises(DataError, match=r"Links 'friends': no two 'user' of train are linked"):
        Strangers(data.root, prepared=data.prepared, kinds=("recommend", "friends")).prepare_data()


def test_refuses_links_with_other_columns(data: Friends) -> None:
    class Wrong(Friends):
        def read_links(self, name: str) -> Iterator[pl.DataFrame]:
            yield pl.DataFrame({"from": [1], "target": [1]})

    with pytest.raises(DataError, match=r"Links 'friends': no column \['source'\]"):
        Wrong(data.root, prepared=data.prepared, kinds=("recommend", "friends")).prepare_data()


def test_refuses_a_ranking_label_that_is_not_1(data: Friends) -> None:
    class Zeros(Friends):
        def read(self) -> Iterator[pl.DataFrame]:
            for frame in super().read():
                yield frame.with_columns(pl.col("recommend").fill_null(0))

    with pytest.raises(DataError, match="found 0; allowed is 1 for a positive interaction"):
        Zeros(data.root, prepared=data.prepared, kinds=("recommend",)).prepare_data()


@pytest.mark.parametrize(("option", "value"), [("negatives", 0), ("links_from", "batches")])
def test_refuses_options_out_of_range(tmp_path: Path, option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{option}={value!r}"):
        Friends(tmp_path, **{option: value})
