"""Numbers against plain Python: what each transform and quantile buckets make of train and of later rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fixtures.prepared import CLICK, SPLIT, prepared, prepared_column, with_clicks
from mtlzoo.datamodules.columns import NumericColumn, Recipe
from mtlzoo.datamodules.prepare.encoders import numeric

RAW: list[Any] = [1.0, -2.0, None, 30.0, 4.0, float("nan")]
LATER: list[Any] = [100.0, -5.0, None]


def transformed(transform: Any, tmp_path: Path, values: list[Any] = RAW) -> tuple[Any, Any]:
    frame = with_clicks({"x": values + LATER}, ["train"] * len(values) + ["test"] * len(LATER))
    data = prepared_column(NumericColumn("x", transform), frame, tmp_path / transform)
    assert data["train"]["numeric"].dtype == torch.float32
    return data["train"]["numeric"].flatten().tolist(), data["test"]["numeric"].flatten().tolist()


@pytest.mark.parametrize("transform", ["standardize", "log1p"])
def test_standardised_by_train_with_missing_ones_at_the_mean(transform: str, tmp_path: Path) -> None:
    def bent(x: list[Any]) -> Any:
        y = np.asarray(x, np.float64)
        return np.sign(y) * np.log1p(np.abs(y)) if transform == "log1p" else y

    mean, deviation = np.nanmean(bent(RAW)), np.nanstd(bent(RAW))
    train, test = transformed(transform, tmp_path)
    np.testing.assert_allclose(train, np.nan_to_num((bent(RAW) - mean) / deviation), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(test, np.nan_to_num((bent(LATER) - mean) / deviation), rtol=1e-6, atol=1e-7)


def test_minmax_is_clipped_and_none_is_raw(tmp_path: Path) -> None:
    mean: Any = np.nanmean(np.asarray(RAW, np.float64))
    train, test = transformed("minmax", tmp_path)
    np.testing.assert_allclose(train, [3 / 32, 0, (mean + 2) / 32, 1, 6 / 32, (mean + 2) / 32], rtol=1e-6)
    np.testing.assert_allclose(test, [1, 0, (mean + 2) / 32], rtol=1e-6)
    train, test = transformed("none", tmp_path)
    np.testing.assert_allclose(train, [1, -2, mean, 30, 4, mean], rtol=1e-6)


@pytest.mark.filterwarnings("ignore:Test. the feature 'x' has one value:mtlzoo.datamodules.errors.DataWarning")
@pytest.mark.parametrize("transform", ["standardize", "log1p", "minmax"])
def test_a_constant_becomes_zero(transform: str, tmp_path: Path) -> None:
    train, _ = transformed(transform, tmp_path, [0.1] * 1001 + [None])
    assert set(train) == {0.0}


def test_moments_do_not_lose_precision_far_from_zero(tmp_path: Path) -> None:
    values = 1.65e12 + np.random.default_rng(0).normal(0, 3, 100_000)
    recipe = Recipe((NumericColumn("x"),), (CLICK,), SPLIT)
    data = prepared(recipe, with_clicks({"x": values}), tmp_path / "x", chunk=999)
    numbers = data["train"]["numeric"].double()
    assert abs(numbers.mean().item()) < 1e-4
    assert abs(numbers.std().item() - 1) < 1e-3


@pytest.mark.parametrize("sample", [50, 1_000_000])
def test_quantile_buckets(sample: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numeric, "SAMPLE", sample)
    values = np.random.default_rng(0).permutation(1000).astype(float).tolist()
    frame = with_clicks({"x": [*values, None, -1.0, 5000.0]}, ["train"] * 1000 + ["test"] * 3)
    data = prepared(Recipe((NumericColumn("x", buckets=4),), (CLICK,), SPLIT), frame, tmp_path / "x", chunk=100)
    assert [feature.name for feature in data.schema.categorical] == ["x"]
    assert data.schema.tables == {"x": 6}
    assert data["test"]["categorical"].flatten().tolist() == [1, 2, 5]
    counts = np.bincount(data["train"]["categorical"].flatten().numpy(), minlength=6)
    assert counts[:2].tolist() == [0, 0]
    if sample > 1000:
        assert counts[2:].tolist() == [250] * 4
    else:
        assert counts[2:].min() > 100


@pytest.mark.filterwarnings("ignore:Test. the feature 'x' has one value:mtlzoo.datamodules.errors.DataWarning")
def test_buckets_of_ties_hold_something_each(tmp_path: Path) -> None:
    data = prepared_column(
        NumericColumn("x", buckets=10), with_clicks({"x": [0] * 60 + [1] * 25 + [2] * 15}), tmp_path / "x"
    )
    assert data["train"]["categorical"].flatten().tolist() == [2] * 60 + [3] * 25 + [4] * 15
    assert data.schema.tables == {"x": 5}
    data = prepared_column(NumericColumn("x", buckets=10), with_clicks({"x": [7] * 10}), tmp_path / "y")
    assert data.schema.tables == {"x": 3}
