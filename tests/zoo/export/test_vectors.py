"""Vectors of users and items: their products are the scores, and faiss finds what `recommend` shows."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from every_model import build

import mtlzoo
from fixtures.friends import Friends
from mtlzoo import PMTRec
from mtlzoo.export import network


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Friends:
    root = tmp_path_factory.mktemp("friends")
    return Friends(root, prepared=root, kinds=("recommend",))


def model_of(data: Friends, encoder: Any) -> PMTRec:
    torch.manual_seed(0)
    model = PMTRec(data.schema, embedding_dim=8, encoder=encoder).eval()
    for weight in model.parameters():
        weight.data.normal_(std=0.3)
    if encoder != "mf":
        model.encoder.connect(*data.interactions)  # type: ignore[operator]
    model.trained_on = data.identity
    return model


@pytest.mark.parametrize("encoder", ["mf", "lightgcn", "ngcf"])
def test_products_are_scores_and_the_nearest_are_the_best(data: Friends, tmp_path: Path, encoder: Any) -> None:
    faiss = pytest.importorskip("faiss")
    model_of(data, encoder).save_pretrained(tmp_path / "m", formats=["vectors"])
    users, items = (np.load(tmp_path / f"m/vectors/{name}.npy", mmap_mode="r") for name in ("users", "items"))
    people, things = (pl.read_parquet(tmp_path / f"m/vectors/{name}.parquet") for name in ("users", "items"))
    assert (users.dtype, len(users), len(items)) == (np.float32, len(people), len(things))
    model = mtlzoo.load(tmp_path / "m")
    pairs = people.join(things, how="cross")
    scores = (users @ items.T).reshape(-1)
    np.testing.assert_allclose(model.predict(pairs)["recommend"], scores, rtol=1e-6, atol=1e-6)
    index = faiss.IndexFlatIP(items.shape[1])
    index.add(items)
    found, rows = index.search(users, 5)
    assert isinstance(model, PMTRec)
    best = model.recommend(people, k=5, exclude_train=False)
    assert things["item"].gather(rows.reshape(-1)).to_list() == best["item"].to_list()
    np.testing.assert_allclose(found.reshape(-1), best["score"], rtol=1e-6, atol=1e-6)


def test_what_has_no_vectors_is_refused(
    data: Friends, toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="SharedBottom has no vectors of users and items"):
        build(toy).save_pretrained(tmp_path / "m", formats=["vectors"])
    foreign = model_of(data, "mf")
    foreign.trained_on = None
    with pytest.raises(ValueError, match="nothing says whose vectors they are"):
        foreign.save_pretrained(tmp_path / "m", formats=["vectors"])
    stars = Friends(tmp_path, prepared=tmp_path / "p", kinds=("rating",))
    with pytest.raises(ValueError, match=r"PMTRec learned no ranking but rating \(regression\)"):
        PMTRec(stars.schema).save_pretrained(tmp_path / "m", formats=["vectors"])
    monkeypatch.setattr(network, "TOLERANCE", -1.0)
    with pytest.raises(ValueError, match="vectors: task 'recommend' differs from the model by"):
        model_of(data, "mf").save_pretrained(tmp_path / "m", formats=["vectors"])
    assert not (tmp_path / "m").exists()
