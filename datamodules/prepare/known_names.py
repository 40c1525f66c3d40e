"""Raw values of a categorical column and their ids, both ways, as a training has them."""

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from mtlzoo.datamodules.columns import CategoricalColumn
from mtlzoo.datamodules.errors import DataError
from mtlzoo.datamodules.prepare.encoders.vocabulary import Ids, Vocabulary
from mtlzoo.datamodules.values.keys import KeyColumn
from mtlzoo.schema import FIRST_KNOWN

if TYPE_CHECKING:
    from mtlzoo.datamodules.prepare.plan import Plan


class KnownNames:
    """What a column's ids stand for.

    Args:
        plan: Whose tables were given what a training learned.
        column: A column of it.

    Raises:
        DataError: Its ids stand for no single value, as they are hashes or ranges of numbers.
    """

    def __init__(self, plan: "Plan", column: str) -> None:
        declared = next(each for each in plan.recipe.columns if each.name == column)
        table = plan.tables[declared.table or column] if isinstance(declared, CategoricalColumn) else None
        if not isinstance(table, Vocabulary):
            raise DataError(
                f"Column {column!r} has no vocabulary: values share ids there, and an id can't be named by a value. "
                "Train with a CategoricalColumn without hash_buckets."
            )
        self.column = column
        self.table = table

    def ids(self, values: pl.Series) -> Ids:
        """Ids of values, int32; 1 where the training does not know one.

        Raises:
            DataError: Values that the column may not hold.
        """
        keys = KeyColumn(self.column)
        values = keys.check(values, range(1, len(values) + 1))
        self.table.join(keys.dtype, self.column)
        return self.table.ids(values, self.column)

    @property
    def values(self) -> pl.Series:
        """The value of every id from `FIRST_KNOWN` on, in their order."""
        return self.table.entries.sort("id")["value"].alias(self.column)

    def names(self, ids: Ids) -> pl.Series:
        """Values of ids that are known."""
        return self.values.gather(ids.astype(np.int64) - FIRST_KNOWN)
