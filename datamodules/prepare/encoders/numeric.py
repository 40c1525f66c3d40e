"""Encoders of quantities: transformed by the statistics of train, or cut into quantile buckets."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from typing_extensions import override

from mtlzoo.datamodules.columns import NumericColumn
from mtlzoo.datamodules.errors import DataError
from mtlzoo.datamodules.hashing import splitmix64
from mtlzoo.datamodules.prepare.encoders.base import Encoder, Places
from mtlzoo.datamodules.values.arrow import compact
from mtlzoo.datamodules.values.checks import EXACT, LARGEST_FLOAT, numbers, require_float
from mtlzoo.schema import FIRST_KNOWN, UNKNOWN

SAMPLE = 1_000_000
"""Values that quantiles are taken of: all of train, or that many drawn at random."""


class Moments:
    """Mean, deviation and range of numbers that come in parts (Chan, Golub and LeVeque 1979)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self.squares = 0.0
        self.low, self.high = np.inf, -np.inf

    def add(self, x: npt.NDArray[np.float64]) -> None:
        """Takes in numbers, none of them NaN."""
        if not len(x):
            return
        total, mean = self.count + len(x), float(x.mean())
        delta = mean - self.mean
        self.squares += float(np.square(x - mean).sum()) + delta**2 * self.count * len(x) / total
        self.mean += delta * len(x) / total
        self.count = total
        self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))
        self.mean = min(max(self.mean, self.low), self.high)  # rounding may leave the range, if only by a bit

    @property
    def scale(self) -> float:
        """Standard deviation (of the population), or 1 if all numbers are equal."""
        return float(np.sqrt(self.squares / self.count)) if self.high > self.low else 1.0

    def require(self, column: str) -> None:
        """Refuses a column that nothing can be scaled by.

        Raises:
            DataError: No number in train, or numbers whose deviation is less than the smallest float.
        """
        if not self.count:
            raise DataError(f"Column {column!r} has no number in train, so nothing to scale by. Leave the column out.")
        if not self.scale > 0:
            raise DataError(
                f"Column {column!r}: the numbers of train, {self.low!r} to {self.high!r}, are so close that their "
                "deviation is 0. Multiply them by a large number."
            )


class Origin:
    """What is subtracted from integers that floats would make one, nanoseconds since 1970 for example.

    About the median of the first chunk of rows; 0 where that is small.
    """

    def __init__(self) -> None:
        self.value: int | None = None

    def subtract(self, x: pl.Series) -> pl.Series:
        """Numbers from `numbers` less the origin: exact where both are integers."""
        if self.value is None:
            middle = x.median() if x.dtype.is_integer() else None
            self.value = int(middle) if isinstance(middle, float) and abs(middle) >= EXACT else 0
        if not self.value:
            return x
        if not x.dtype.is_integer():
            return x.cast(pl.Float64) - float(self.value)
        left = x.cast(pl.Int128) - pl.Series([self.value], dtype=pl.Int128)
        whole = left.cast(pl.Int64, strict=False)
        return left.cast(pl.Float64) if whole.null_count() > left.null_count() else whole

    def state(self) -> dict[str, Any]:
        """As of `Encoder`."""
        return {"origin": self.value} if self.value else {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """As of `Encoder`."""
        self.value = state.get("origin", 0)


class NumericEncoder(Encoder):
    """One number per row, scaled by the statistics of train; missing ones become its mean."""

    def __init__(self, column: NumericColumn) -> None:
        self.column = column
        self.moments = Moments()
        self.origin = Origin()
        self.ends: dict[str, tuple[float, int]] = {}
        """Lowest and highest number of all rows, and the row of each."""

    @override
    def stage(self, chunk: pl.DataFrame, rows: range) -> pa.Array:
        raw, name = chunk[self.column.name], self.column.name
        x = numbers(raw, name, rows)
        require_float(x, raw, name, rows)
        if self.column.transform != "log1p":
            x = self.origin.subtract(x)
        for end, place in (("low", x.arg_min()), ("high", x.arg_max())):
            if place is not None:
                chosen = min if end == "low" else max
                self.ends[end] = chosen(
                    self.ends.get(end, (float(x[place]), rows[place])), (float(x[place]), rows[place])
                )
        return compact(x)

    @override
    def settle(self) -> None:
        if self.given:
            self._require_finite()

    @override
    def observe(self, staged: pa.Array, train: Places) -> None:
        x = self._bent(_numpy(staged).take(train))
        self.moments.add(x[~np.isnan(x)])

    @override
    def fit(self) -> None:
        moments = self.moments
        moments.require(self.column.name)
        if self.column.transform == "none":
            self.center, self.scale = -float(self.origin.value or 0), 1.0
        elif self.column.transform == "minmax":
            self.center, self.scale = moments.low, moments.high - moments.low or 1.0
        else:
            self.center, self.scale = moments.mean, moments.scale
        self.missing = (moments.mean - self.center) / self.scale
        self._require_finite()

    def _require_finite(self) -> None:
        """Refuses numbers whose final form 32 bits cannot hold, or cannot tell apart."""
        moments, name, transform = self.moments, self.column.name, self.column.transform
        for value, row in self.ends.values():
            x = (self._bent(np.asarray([value])) - self.center) / self.scale
            if transform != "minmax" and abs(x[0]) > LARGEST_FLOAT:
                raise DataError(
                    f"Column {name!r}, row {row:,}: found {value + (self.origin.value or 0)!r}, which is {x[0]:.1e} "
                    f"deviations ({self.scale:.1e}) off the mean of train; allowed is what 32 bits hold (up to "
                    f"{LARGEST_FLOAT:.1e}). Correct the number, or choose transform: log1p, minmax or none."
                )
        furthest = max(abs(moments.low - self.center), abs(moments.high - self.center)) if moments.count else 0.0
        if transform == "none" and moments.high > moments.low and moments.scale < np.spacing(np.float32(furthest)):
            raise DataError(
                f"Column {name!r}: with transform: none, 32 bits do not tell the numbers of train apart (they have "
                f"a deviation of {moments.scale:.1e} at {moments.mean - self.center:.6e}). Choose standardize."
            )

    @override
    def state(self) -> dict[str, Any]:
        return {"center": self.center, "scale": self.scale, "missing": self.missing, **self.origin.state()}

    @override
    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        self.origin.restore(state)
        self.center, self.scale, self.missing = state["center"], state["scale"], state["missing"]

    @override
    def fresh(self) -> Self:
        made = super().fresh()
        made.ends = {}
        return made

    @override
    def encode(self, staged: pa.Array) -> npt.NDArray[np.float32]:
        x = (self._bent(_numpy(staged)) - self.center) / self.scale
        x = np.where(np.isnan(x), self.missing, x)
        return (x.clip(0, 1) if self.column.transform == "minmax" else x).astype(np.float32)[:, None]

    def _bent(self, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.sign(x) * np.log1p(np.abs(x)) if self.column.transform == "log1p" else x


class BucketEncoder(Encoder):
    """The quantile bucket of train that each number falls in, as an id; missing ones are unknown.

    Quantiles are exact up to `SAMPLE` rows of train; beyond, they are those of a random sample of that size, which is
    the same in every run.
    """

    dtype = np.int32

    def __init__(self, column: NumericColumn) -> None:
        self.column = column
        self.sample = np.empty(0)
        self.draws = np.empty(0, np.uint64)
        self.seen = 0
        self.origin = Origin()

    @property
    def cardinality(self) -> int:
        """Number of ids, padding and unknown included."""
        return FIRST_KNOWN + len(self.edges) + 1

    @override
    def stage(self, chunk: pl.DataFrame, rows: range) -> pa.Array:
        return compact(self.origin.subtract(numbers(chunk[self.column.name], self.column.name, rows)))

    @override
    def observe(self, staged: pa.Array, train: Places) -> None:
        x = _numpy(staged).take(train)
        x = x[~np.isnan(x)]
        # Every value draws a number; those with the smallest draws are a uniform sample of all that came.
        draws = splitmix64(np.arange(self.seen, self.seen + len(x)))
        self.seen += len(x)
        self.sample, self.draws = np.append(self.sample, x), np.append(self.draws, draws)
        if len(self.sample) > SAMPLE:
            kept = np.argpartition(self.draws, SAMPLE)[:SAMPLE]
            self.sample, self.draws = self.sample[kept], self.draws[kept]

    @override
    def fit(self) -> None:
        if not len(self.sample):
            raise DataError(
                f"Column {self.column.name!r} has no number in train, so no quantiles. Leave the column out."
            )
        levels = np.linspace(0, 1, self.column.buckets + 1)[1:-1]
        edges = np.unique(np.quantile(self.sample, levels, method="inverted_cdf"))
        # A bucket holds its upper edge; an edge at the maximum would leave the bucket above it empty.
        self.edges = edges[edges < self.sample.max()]
        del self.sample, self.draws

    @override
    def state(self) -> dict[str, Any]:
        return {"edges": self.edges.tolist(), **self.origin.state()}

    @override
    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        self.origin.restore(state)
        self.edges = np.asarray(state["edges"], np.float64)

    @override
    def encode(self, staged: pa.Array) -> npt.NDArray[np.int32]:
        x = _numpy(staged)
        ids = FIRST_KNOWN + np.searchsorted(self.edges, x, side="left").astype(np.int32)
        return np.where(np.isnan(x), np.int32(UNKNOWN), ids)[:, None]


def _numpy(staged: pa.Array) -> npt.NDArray[np.float64]:
    """Numbers, NaN where null."""
    return np.asarray(staged.to_numpy(zero_copy_only=False), np.float64)
