"""Quantities keep what tells them apart, or are refused with column, row and value."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from mtlzoo import SharedBottom
from mtlzoo.datamodules import TabularDataModule
from mtlzoo.datamodules.errors import DataError
from mtlzoo.datamodules.values.checks import numbers

EPOCH = 1_700_000_000_000_000_000
"""Nanoseconds: neighbouring floats of 64 bits are 256 apart here."""


def prepared(folder: Path, train: pl.DataFrame, test: pl.DataFrame | None = None, **options: Any) -> TabularDataModule:
    description: dict[str, Any] = {"features": {"x": "numeric"}, "labels": {"y": "binary"}, **options}
    return TabularDataModule.from_frame(train, train, train if test is None else test, prepared=folder, **description)


def column(name: str, values: Any, dtype: Any = None) -> pl.DataFrame:
    other = {"x": "y", "y": "x"}[name]
    frame = pl.DataFrame({name: pl.Series(values, dtype=dtype, strict=dtype is None)})
    return frame.with_columns((pl.int_range(pl.len()) % 2).alias(other))


@pytest.mark.parametrize("offset", [0, 1e-3, 1.6e9, -1.6e9, EPOCH, -EPOCH, 2**64 - 8, 2**62])
@pytest.mark.parametrize("transform", ["standardize", "minmax"])
def test_features_of_any_offset_keep_their_differences(tmp_path: Path, offset: float, transform: str) -> None:
    values = [offset + i for i in range(8)]
    dtype = pl.UInt64 if offset == 2**64 - 8 else None
    data = prepared(tmp_path, column("x", values, dtype), features={"x": {"kind": "numeric", "transform": transform}})
    steps = np.arange(8.0)
    expected = (steps - 3.5) / steps.std() if transform == "standardize" else steps / 7
    np.testing.assert_allclose(data.data["test"]["numeric"][:, 0], expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("options", [{}, {"strip": True}, {"decimal": ","}])
def test_whole_numbers_in_text_files_keep_their_differences(tmp_path: Path, options: dict[str, Any]) -> None:
    """As in all other tables, also where a gap makes Arrow call them floats, and beside a column of fractions."""
    values = [EPOCH + i for i in range(8)]
    blank = " " if options.get("strip") else ""
    rows = (f"{value};{blank}{i}{options.get('decimal', '.')}5;{i % 2}\n" for i, value in enumerate(values))
    (tmp_path / "t.csv").write_text("x;z;y\n" + "".join(rows) + ";;1\n")
    data = TabularDataModule(
        tmp_path, train="t.csv", val="t.csv", prepared=tmp_path, separator=";", labels={"y": "binary"},
        features={"x": "numeric", "z": "numeric"}, **options,
    )  # fmt: skip
    steps = np.arange(8.0)
    for place in (0, 1):
        found = data.data["train"]["numeric"][:, place]
        np.testing.assert_allclose(found[:8], (steps - 3.5) / steps.std(), rtol=1e-6)
        assert found[8] == 0


def test_numbers_in_text() -> None:
    texts = ["7", "-007", "-7.5", "1e-05", ".5", "1."]
    assert numbers(pl.Series([*texts, None]), "x", range(1, 8)).to_list() == [*map(float, texts), None]


@pytest.mark.parametrize(
    "wrong", ["0x1", "1_000", "+1", " 1", "1\n", "", "\uff11", "\u0663", "inf", "nan", "NaN", "True", "1e", "1e999"]
)
def test_numbers_that_nobody_writes(wrong: str) -> None:
    with pytest.raises(DataError, match=r"Column 'x', row 3: found .*; allowed is"):
        numbers(pl.Series(["1", None, wrong]), "x", range(1, 4))


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical, pl.Decimal(38, 0), pl.Int128])
def test_whole_numbers_are_told_apart_in_any_type(dtype: Any) -> None:
    texts = pl.Series([str(EPOCH + 1), None, str(EPOCH), "7"])
    values = texts.cast(dtype) if dtype == pl.Categorical else texts.cast(dtype, strict=True)
    assert numbers(values, "x", range(1, 5)).to_list() == [EPOCH + 1, None, EPOCH, 7]


@pytest.mark.parametrize("odd", ["0.5", str(2**70)])
def test_a_number_that_integers_do_not_hold_makes_floats_of_all(odd: str) -> None:
    assert numbers(pl.Series([str(EPOCH), odd]), "x", range(1, 3)).to_list() == [float(EPOCH), float(odd)]


def test_bucket_edges_and_later_chunks_have_the_same_origin(tmp_path: Path) -> None:
    frame = column("x", [EPOCH + i for i in (5, 0, 3, 6, 2, 7, 1, 4)])
    later = column("x", [None, EPOCH + 100, -(2**63), 2**63 - 1])
    data = prepared(tmp_path, frame, later, features={"x": {"kind": "numeric", "buckets": 8}})
    assert data.data["train"]["categorical"].flatten().tolist() == [7, 2, 5, 8, 4, 9, 3, 6]
    assert data.data["test"]["categorical"].flatten().tolist() == [1, 9, 2, 9]


@pytest.mark.parametrize(
    "dtype", [pl.Int8, pl.UInt64, pl.Float32, pl.Decimal(38, 2), pl.String, pl.Categorical, pl.Boolean]
)
def test_numbers_may_come_in_any_type(tmp_path: Path, dtype: Any) -> None:
    values = pl.Series([0, 1, 1, 0])
    cast = values.cast(pl.String).cast(dtype) if dtype == pl.Categorical else values.cast(dtype)
    data = prepared(tmp_path, column("x", cast))
    assert data.data["train"]["numeric"].flatten().tolist() == [-1, 1, 1, -1]


@pytest.mark.parametrize("transform", ["standardize", "log1p", "minmax", "none"])
@pytest.mark.parametrize("value", [1e39, -3.5e38, 1.7976931348623157e308])
def test_a_number_beyond_32_bits_is_refused(tmp_path: Path, transform: str, value: float) -> None:
    frame = column("x", [1.0, 2.0, None, value])
    with pytest.raises(
        DataError, match=r"Column 'x', row 4: found -?\d.*; allowed is a number that 32 bits hold .*null"
    ):
        prepared(tmp_path, frame, features={"x": {"kind": "numeric", "transform": transform}}).schema  # noqa: B018


@pytest.mark.parametrize(
    ("train", "test", "transform", "message"),
    [
        ([0.0, 1e-30, 2e-30], [1e30, 0.0, None], "standardize", r"row 7: found 1e\+30, which is .* deviations"),
        ([0.0, 1e-30, 2e-30], [0.0, -1e30, 0.0], "log1p", None),
        ([0.0, 1e-30, 2e-30], [1e30, -1e30, None], "minmax", None),
        ([0.0, 1e-30, 2e-30], [1e30, -1e30, None], "none", None),
        ([0.0, 1e-200, 2e-200], [0.0, 0.0, 0.0], "standardize", "so close that their deviation is 0"),
        ([1.6e9, 1.6e9 + 1, 1.6e9 + 2], [0.0, 0.0, 0.0], "none", "32 bits do not tell .* apart .* Choose standardize"),
        ([EPOCH, EPOCH + 1, EPOCH + 2], [EPOCH] * 3, "none", "32 bits do not tell .* apart .* Choose standardize"),
        ([EPOCH, 0, EPOCH // 2], [EPOCH] * 3, "none", None),
        ([1e38, -1e38, 3e38], [3e38, -3e38, 0.0], "standardize", None),
    ],
)
def test_features_are_finite_or_refused(
    tmp_path: Path, train: list[Any], test: list[Any], transform: str, message: str | None
) -> None:
    features = {"x": {"kind": "numeric", "transform": transform}}
    data = prepared(tmp_path, column("x", train), column("x", test), features=features)
    if message is None:
        assert data.data["test"]["numeric"].isfinite().all()
        assert data.data["train"]["numeric"].isfinite().all()
        return
    with pytest.raises(DataError, match=f"Column 'x'.*{message}"):
        data.schema  # noqa: B018


def test_untransformed_integers_beyond_floats_stay_themselves(tmp_path: Path) -> None:
    data = prepared(tmp_path, column("x", [EPOCH, 0]), features={"x": {"kind": "numeric", "transform": "none"}})
    assert data.data["train"]["numeric"].flatten().tolist() == [float(np.float32(EPOCH)), 0.0]


@pytest.mark.parametrize(
    ("values", "dtype", "exact"),
    [
        ([1.6e9 + i for i in range(8)], torch.float64, True),
        ([1_600_000_000 + i for i in range(8)], torch.float64, True),
        ([0.1 * i for i in range(8)], torch.float32, False),
        ([1e3 + 0.1 * i for i in range(8)], torch.float64, True),
        ([float(i) for i in range(8)], torch.float32, True),
        ([16_000_000 + i for i in range(8)], torch.float32, True),
        ([1e-30 * i for i in range(8)], torch.float32, False),
        (pl.Series([0.1 * i for i in range(8)], dtype=pl.Float32), torch.float32, True),
        ([3e38, -3e38, 1e38, 2e38], torch.float32, False),
    ],
)
def test_regressions_are_learned_and_measured_in_their_own_units(
    tmp_path: Path, values: Any, dtype: torch.dtype, exact: bool
) -> None:
    data = prepared(tmp_path, column("y", values), labels={"y": "regression"})
    (task,) = data.schema.tasks
    labels, y = data.data["train"]["labels"], np.asarray(values, np.float64)
    assert labels.dtype == dtype
    np.testing.assert_allclose(labels[:, 0], y, rtol=0 if exact else 1e-7)
    assert task.center == pytest.approx(y.mean(), rel=1e-12)
    assert task.scale == pytest.approx(y.std(), rel=1e-9)
    standard = torch.tensor((y - task.center) / task.scale, dtype=torch.float32)
    losses, _ = task.row_losses(torch.zeros(len(y)), labels)
    torch.testing.assert_close(losses, standard.square())
    assert losses.dtype == torch.float32
    # Predictions of a perfect model are off by no more than its own 32 bits, in units of the deviation.
    np.testing.assert_allclose(task.predict(standard).numpy() - y, 0, atol=1e-6 * task.scale)


def test_rmse_of_times_in_seconds_is_that_of_their_differences(tmp_path: Path) -> None:
    y = [1.6e9 + i for i in range(8)]
    data = prepared(tmp_path, column("y", y), labels={"y": "regression"})
    model = SharedBottom(data.schema)
    for batch in data.test_dataloader():
        logits = torch.full((8,), 0.5)
        for metrics in model._metrics():
            metrics.update(logits, batch["labels"])
    values = model._metrics()[0].compute()
    off = np.asarray(y) - (np.mean(y) + 0.5 * np.std(y))
    assert float(values["rmse"]) == pytest.approx(np.sqrt(np.square(off).mean()), rel=1e-9)
    assert float(values["mae"]) == pytest.approx(np.abs(off).mean(), rel=1e-9)


@pytest.mark.parametrize(
    ("values", "row", "allowed"),
    [
        ([1.0, 1e39], 2, "a number that 32 bits hold"),
        ([-1e39, 1.0], 1, "a number that 32 bits hold"),
        ([1.0, float("inf")], 2, "a finite number"),
        ([1, EPOCH + 1], 2, r"a whole number below 2\^53"),
    ],
)
def test_labels_that_cannot_be_held_are_refused(tmp_path: Path, values: list[Any], row: int, allowed: str) -> None:
    with pytest.raises(DataError, match=rf"Column 'y', row {row}: found .*; allowed is {allowed}"):
        prepared(tmp_path, column("y", values), labels={"y": "regression"}).schema  # noqa: B018


def test_labels_too_close_for_a_deviation_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Column 'y': .*so close that their deviation is 0"):
        prepared(tmp_path, column("y", [1e-300, 2e-300]), labels={"y": "regression"}).schema  # noqa: B018


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, 1e39, 1.0, 1.0], "row 2: found 1e.39; allowed is a weight >= 0"),
        ([1.0, 1.0, 1e-46, 1.0], "row 3: found 1e-46; allowed is a weight >= 0"),
        ([1.0, -1.0, 1.0, 1.0], "row 2: found -1.0; allowed is a weight >= 0"),
        ([1.0, None, 1.0, 1.0], "row 2: found None; allowed is a weight >= 0"),
        ([0.0, 0.0, 0.0, 0.0], "the weights of train sum to 0; allowed is a sum above 0"),
        ([3e38, 3e38, 0.0, 0.0], r"the weights of train sum to 6e\+38; allowed is a sum above 0 that 32 bits hold"),
    ],
)
def test_weights_are_held_and_count_or_are_refused(tmp_path: Path, weights: list[Any], message: str) -> None:
    frame = pl.DataFrame({"x": [1.0, 2.0, 3.0, 4.0], "y": [0, 1, 0, 1], "w": weights})
    with pytest.raises(DataError, match=f"Column 'w'.*{message}"):
        prepared(tmp_path, frame, weight="w").schema  # noqa: B018
