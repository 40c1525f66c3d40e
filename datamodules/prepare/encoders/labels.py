"""Encoders of targets, sample weights and groups."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from typing_extensions import override

from mtlzoo.datamodules.columns import Label
from mtlzoo.datamodules.errors import DataError
from mtlzoo.datamodules.prepare.encoders.base import Encoder, Keys, Places, coded
from mtlzoo.datamodules.prepare.encoders.numeric import Moments
from mtlzoo.datamodules.prepare.encoders.sequences import as_array, as_lists, flatten
from mtlzoo.datamodules.prepare.encoders.vocabulary import Vocabulary
from mtlzoo.datamodules.values.arrow import compact, from_arrow, to_arrow
from mtlzoo.datamodules.values.checks import EXACT, LARGEST_FLOAT, numbers, require, require_float
from mtlzoo.datamodules.values.truths import truths
from mtlzoo.schema import FIRST_KNOWN
from mtlzoo.tasks import Task

_FAR = 16.0
"""Deviations from 0 up to which the rounding to 32 bits is some 1e-6 deviations, which is also that of a prediction."""
_SMALLEST = float(np.finfo(np.float32).tiny)
_REMEDY = "or null where it is not observed. Correct the rows, or the label's kind"


class LabelEncoder(Encoder):
    """One number per row, NaN where not observed.

    Of 32 bits, but of 64 where those would lose what tells the labels apart: times in seconds, say, whose mean is far
    from 0 in units of their deviation.
    """

    def __init__(self, label: Label) -> None:
        self.label = label
        self.names: tuple[str, ...] = ()
        """Of classes that have some."""
        self.moments = Moments()
        self.center, self.scale = 0.0, 1.0
        self.dtype: npt.DTypeLike = np.float32
        self.all = Moments()
        """Of all rows, for the choice between 32 and 64 bits."""
        self.exact = True
        """Whether 32 bits hold all rows as they are."""

    @override
    def stage(self, chunk: pl.DataFrame, rows: range) -> pa.Array:
        raw = chunk[self.label.column]
        if self.label.kind == "binary":
            x = truths(raw, self.label.column, rows, self.label.true_values, self.label.false_values)
        else:
            x = numbers(raw, self.label.column, rows)
        if self.label.kind == "ranking":
            allowed = "1 for a positive interaction, or null for what is none. Correct the rows"
            require((x == 1) | x.is_null(), raw, self.label.column, rows, allowed)
        if self.label.kind == "multiclass":
            _require_classes(x, self.label, rows)
        if self.label.kind in ("binary", "ranking"):
            x = x.cast(pl.Int8)
        else:
            require_float(x, raw, self.label.column, rows)
            x = self._narrow(x, raw, rows)
        return to_arrow(observed(x, chunk, self.label, rows))

    def _narrow(self, x: pl.Series, raw: pl.Series, rows: range) -> pl.Series:
        """The numbers in the smallest type of float that holds them."""
        wide = x.cast(pl.Float64)
        if x.dtype.is_integer():
            allowed = f"a whole number below 2^53, {_REMEDY}"
            require(wide.abs() < EXACT, raw, self.label.column, rows, f"{allowed}; or subtract what all have in common")
        self.all.add(wide.drop_nulls().to_numpy())
        narrow = wide.cast(pl.Float32)
        if (narrow.cast(pl.Float64) == wide).all():
            return narrow
        self.exact = False
        return wide

    @override
    def settle(self) -> None:
        far = self.label.kind != "regression" or abs(self.all.mean) > _FAR * self.all.scale
        self.dtype = np.float32 if self.exact or not far else np.float64

    @override
    def observe(self, staged: pa.Array, train: Places) -> None:
        if self.label.kind == "regression" and self.label.standardize:
            x = staged.to_numpy(zero_copy_only=False).take(train).astype(np.float64)
            self.moments.add(x[~np.isnan(x)])

    @override
    def fit(self) -> None:
        if self.moments.count:
            self.moments.require(self.label.column)
            self.center, self.scale = self.moments.mean, self.moments.scale

    @override
    def state(self) -> dict[str, Any]:
        return {"center": self.center, "scale": self.scale}

    @override
    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        self.center, self.scale = state["center"], state["scale"]

    @override
    def encode(self, staged: pa.Array) -> npt.NDArray[Any]:
        values: npt.NDArray[Any] = staged.to_numpy(zero_copy_only=False)
        return values[:, None]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.label.classes

    def task(self) -> Task:
        """The task, with centre and scale of what was observed in train."""
        label = self.label
        return Task(
            name=label.name or label.column,
            kind=label.kind,
            weight=label.weight,
            classes=self.classes,
            class_names=self.names,
            center=self.center,
            scale=self.scale,
            observed=label.observed,
        )


class MultilabelEncoder(LabelEncoder):
    """A 0 or 1 per class and row; all NaN where not observed."""

    @override
    def stage(self, chunk: pl.DataFrame, rows: range) -> pa.Array:
        lists = as_lists(chunk[self.label.column], self.label.separator, self.label.column, rows)
        items, lengths = flatten(to_arrow(lists))
        places = np.repeat(np.asarray(rows), lengths)
        classes = numbers(from_arrow(items), self.label.column, places)
        _require_classes(classes, self.label, places)
        self._refuse_hot(classes, lengths, rows)
        checked = from_arrow(as_array(classes.cast(pl.Int64), lengths))
        known = pl.select(pl.when(lists.is_not_null()).then(checked)).to_series()
        return to_arrow(observed(known, chunk, self.label, rows))

    def _refuse_hot(self, classes: pl.Series, lengths: npt.NDArray[np.int64], rows: range) -> None:
        """Refuses rows of a 0 or 1 for every class, which would all be of classes 0 and 1."""
        if self.label.classes < 3 or not (long := lengths == self.label.classes).any():
            return
        table = classes.to_numpy()[np.repeat(long, lengths)].reshape(-1, self.label.classes)
        hot = table.max(1) <= 1
        allowed = "the numbers of its classes, each once, not a 0 or 1 for every class. List where the ones are: [1, 2]"
        found = pl.Series(map(str, table.astype(np.int64).tolist())) if hot.any() else pl.Series(hot)
        require(pl.Series(~hot), found, self.label.column, np.asarray(rows)[long], allowed)

    @override
    def encode(self, staged: pa.Array) -> npt.NDArray[np.float32]:
        items, lengths = flatten(staged)
        hot = np.zeros((len(staged), self.label.classes), np.float32)
        hot[np.repeat(np.arange(len(staged)), lengths), items.to_numpy()] = 1
        hot[staged.is_null().to_numpy(zero_copy_only=False)] = np.nan
        return hot


class WeightEncoder(Encoder):
    """The weight of each row."""

    def __init__(self, column: str) -> None:
        self.column = column
        self.total = 0.0

    @override
    def stage(self, chunk: pl.DataFrame, rows: range) -> pa.Array:
        raw = chunk[self.column]
        x = numbers(raw, self.column, rows)
        held = (x == 0) | x.is_between(_SMALLEST, LARGEST_FLOAT)
        allowed = f"a weight >= 0 in every row, 0 or from {_SMALLEST:.1e} to {LARGEST_FLOAT:.1e}"
        require(held.fill_null(False), raw, self.column, rows, allowed)
        return to_arrow(x.cast(pl.Float32))

    @override
    def observe(self, staged: pa.Array, train: Places) -> None:
        self.total += float(staged.to_numpy().take(train).sum(dtype=np.float64))

    @override
    def fit(self) -> None:
        if not 0 < self.total <= LARGEST_FLOAT:
            raise DataError(
                f"Column {self.column!r}: the weights of train sum to {self.total:.3g}; allowed is a sum above 0 that "
                f"32 bits hold (up to {LARGEST_FLOAT:.1e}). Correct the weights, or leave the column out."
            )

    @override
    def encode(self, staged: pa.Array) -> npt.NDArray[np.float32]:
        return np.asarray(staged.to_numpy())[:, None]


class GroupEncoder(Encoder):
    """A number per distinct value: integers as they are, everything else numbered over all splits."""

    dtype = np.int64

    def __init__(self, column: str) -> None:
        self.column = column
        self.values = Vocabulary()
        self.keys = Keys(column, self.values)

    @override
    def stage(self, chunk: pl.DataFrame, rows: range) -> pa.Array:
        keys = self.keys.check(chunk[self.column], rows)
        there = keys.is_not_null() & (keys != "" if keys.dtype == pl.String else True)
        require(there.fill_null(False), keys, self.column, rows, "a value in every row, as grouped metrics need one")
        return compact(keys) if self._whole else coded(keys)

    @override
    def settle(self) -> None:
        self.keys.settle()

    @override
    def observe(self, staged: pa.Array, train: Places) -> None:
        if not self._whole:
            self.keys.count(staged, np.arange(len(staged)))

    @override
    def fit(self) -> None:
        self.values.fit()

    @override
    def encode(self, staged: pa.Array) -> npt.NDArray[np.integer[Any]]:
        codes: npt.NDArray[Any] = staged.to_numpy() if self._whole else self.keys.ids(staged) - FIRST_KNOWN
        return codes[:, None]

    @property
    def _whole(self) -> bool:
        return self.keys.dtype == pl.Int64


def _require_classes(x: pl.Series, label: Label, rows: Any) -> None:
    good = (x >= 0) & (x < label.classes) & (x == x.floor())
    require(good, x, label.column, rows, f"a whole number from 0 to {label.classes - 1}, {_REMEDY}")


def observed(values: pl.Series, chunk: pl.DataFrame, label: Label, rows: range) -> pl.Series:
    """The values, null where the label that they depend on is not 1."""
    if not label.observed:
        return values
    condition = truths(chunk[label.observed], label.observed, rows, label.true_values, label.false_values)
    return pl.select(pl.when(condition == 1).then(values)).to_series()
