"""What looks wrong in prepared rows and is no error: ids that train does not know, columns that say nothing."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mtlzoo.datamodules.prepare.shared import Column
from mtlzoo.schema import PADDING, UNKNOWN, FeatureSchema

MOST = 0.5
"""Share of unknown ids above which something is said."""
_EXAMPLES = 3
_LOOKED_AT = 1000
Array = npt.NDArray[Any]


class Remarked:
    """What is remarked of one column in one split: its range, the ids that are unknown, and some of those."""

    def __init__(self) -> None:
        self.low: Array | None = None
        self.high: Array | None = None
        self.there = self.unknown = 0
        self.examples: list[Any] = []

    def add(self, values: Array) -> None:
        """Takes in encoded values [rows, width]; those of a column that has two are not looked at any more."""
        for part in (values[:_LOOKED_AT], values[_LOOKED_AT:]):  # most columns have two at once
            if not len(part) or (self.low is not None and not self.constant and self.observed):
                return
            low, high = np.fmin.reduce(part), np.fmax.reduce(part)
            self.low = low if self.low is None else np.fmin(self.low, low)
            self.high = high if self.high is None else np.fmax(self.high, high)

    def add_ids(self, ids: Array, staged: pa.Array, rows: Array) -> None:
        """Takes in ids [rows, width], and the staged values that they are of, at `rows`."""
        lists = pa.types.is_large_list(staged.type)
        self.there += int(np.count_nonzero(ids != PADDING)) if lists else ids.size  # lists alone are padded
        places, items = np.divmod(np.flatnonzero(ids == UNKNOWN), ids.shape[1])
        if not lists and len(places):
            missing = _missing(staged.take(pa.array(rows[places])))
            self.there -= int(np.count_nonzero(missing))
            places, items = places[~missing], items[~missing]
        self.unknown += len(places)
        if len(self.examples) == _EXAMPLES or not len(places):
            return
        values = staged.take(pa.array(rows[places[:_LOOKED_AT]])).to_pylist()
        found = [value[item] if lists else value for value, item in zip(values, items, strict=False)]
        fresh = [value for value in dict.fromkeys(found) if value not in self.examples]
        self.examples += fresh[: _EXAMPLES - len(self.examples)]

    @property
    def constant(self) -> bool:
        """Whether all values that are not missing are one."""
        return self.low is not None and bool(np.all(self.low == self.high))

    @property
    def observed(self) -> bool:
        """Whether a value is not missing."""
        return self.low is not None and not np.isnan(self.low.astype(np.float64)).all()


def _missing(values: pa.Array) -> Array:
    """Whether each is null or the empty text."""
    plain = values.dictionary_decode() if isinstance(values, pa.DictionaryArray) else values
    text = pa.types.is_string(plain.type) or pa.types.is_large_string(plain.type)
    missing = pc.fill_null(pc.equal(plain, ""), True) if text else plain.is_null()
    return np.asarray(missing.to_numpy(zero_copy_only=False), np.bool_)


class Remarks:
    """Collects while the rows are encoded, and says what is odd when all have been.

    Args:
        schema: Names the columns.
        learned: Whether train was learned from, so that it matters that a feature has one value there.
    """

    def __init__(self, schema: FeatureSchema, *, learned: bool = True) -> None:
        self.schema = schema
        self.learned = learned
        self.names = {
            "categorical": [feature.name for feature in schema.categorical],
            "numeric": [feature.name for feature in schema.numeric],
            "labels": [task.name for task in schema.tasks if task.label_width],
            "weight": ["weight"],
            **{sequence.name: [sequence.name] for sequence in schema.sequences},
        }
        """Of the columns in each file."""
        self.rows: dict[str, int] = {}
        self.columns: dict[tuple[str, str, str], Remarked] = {}
        """By split, file and name."""

    def add(self, split: str, file: str, columns: Sequence[Array], staged: Sequence[Column], rows: Array) -> None:
        """Takes in encoded rows of a split, and the staged columns of the chunk that has them at `rows`."""
        ids = file not in ("numeric", "labels", "weight", "group")
        for name, values, raw in zip(self.names.get(file, ()), columns, staged, strict=False):
            column = self.columns.setdefault((split, file, name), Remarked())
            column.add(values)
            if ids:
                column.add_ids(values, raw.values, raw.places(rows))

    def lines(self, rows_of: dict[str, int]) -> Iterator[str]:
        """A sentence or two for everything that is odd; `rows_of` are the rows of each split."""
        for (split, file, name), column in self.columns.items():
            if column.unknown > MOST * column.there:
                examples = ", ".join(map(repr, column.examples))
                share = f"{column.unknown / column.there:.0%} of the ids of {name!r} in {split} are unknown"
                yield f"{share}, {examples} for example. Check how they are spelt in train, min_count and split."
            if file == "weight" and not np.any(column.high):
                yield f"the weights of {split} are all 0, so that its metrics are undefined."
            elif file == "labels":
                yield from self._of_label(split, name, column)
            elif split == "train" and self.learned and rows_of[split] > 1 and column.constant and file != "weight":
                yield f"the feature {name!r} has one value in train, so that it tells nothing. Leave it out."

    def _of_label(self, split: str, name: str, column: Remarked) -> Iterator[str]:
        task = next(task for task in self.schema.tasks if task.name == name)
        lost = "there is nothing to learn" if split == "train" else "its metrics are undefined"
        if not column.observed:
            yield f"the label {name!r} is missing in every row of {split}, so that {lost}."
        elif column.constant and task.kind != "ranking" and (split == "train" or task.kind != "regression"):
            assert column.low is not None
            found = "the same" if task.kind == "multilabel" else f"{float(column.low.flat[0]):g}"
            lost = lost if split == "train" else "some of its metrics, such as AUC, are undefined"
            yield f"the label {name!r} is {found} in every row of {split} that has one, so that {lost}."
