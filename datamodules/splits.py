"""How a data set says that its rows are divided into train, validation and test."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from mtlzoo.datamodules.values.times import Bound, plain_bound, read_bound
from mtlzoo.options import Declared, Range
from mtlzoo.schema import Name

Share: TypeAlias = Annotated[float, Range(0, 1)]
Seed: TypeAlias = Annotated[int, Range(0, 2**63 - 1)]


@dataclass(frozen=True)
class TimeSplit(Declared):
    """Rows by a column of times, dates or numbers: validation from `val`, test from `test` on.

    Rows before `val` are train. Both bounds are inclusive. A bound is what the column holds: a time, as ISO text or as
    a date or time of Python and YAML, with a zone where the column has zones; or a number, in the column's unit. A
    bound that is None says that there is no such split.
    """

    column: Name
    val: Bound | None
    test: Bound | None

    def __post_init__(self) -> None:
        for name in ("val", "test"):
            object.__setattr__(self, name, plain_bound(getattr(self, name)))
        super().__post_init__()
        read = [read_bound(bound) for bound in (self.val, self.test) if bound is not None]
        if len({form for form, _ in read}) > 1:
            raise ValueError(
                f"{self}: one bound is of {read[0][0]}, one of {read[1][0]}. Write both as the column does."
            )
        if len(read) == 2 and read[0][1] > read[1][1]:
            raise ValueError(f"{self}: val must not come after test.")

    @property
    def needed(self) -> tuple[str, ...]:
        """Splits that must have rows."""
        return _needed(val=self.val is not None and self.val != self.test, test=self.test is not None)


@dataclass(frozen=True)
class RandomSplit(Declared):
    """Each row at random: fractions of validation and test; the rest is train."""

    val: Share = 0.1
    test: Share = 0.1
    seed: Seed = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        _leave_train(self)

    @property
    def needed(self) -> tuple[str, ...]:
        """Splits that must have rows."""
        return _needed(val=self.val > 0, test=self.test > 0)


@dataclass(frozen=True)
class UserSplit(Declared):
    """The rows of each user in order, or in an order that is drawn: first train, then validation, the last are test.

    Args:
        user: Column of the user.
        order: Column that orders a user's rows; the order in the files if empty.
        val: Fraction of a user's rows for validation.
        test: Fraction of a user's rows for test.
        rounding: Where fractions give no whole rows: ``down`` rounds what is held out, test and validation with test,
            down, so that train is never short; ``up`` rounds it up, so that test never is, and a user with one row has
            it in test.
        seed: Seed of an order that is drawn, for users whose rows have none; None takes that of `order`.
    """

    user: Name
    order: str = ""
    val: Share = 0.1
    test: Share = 0.1
    rounding: Literal["down", "up"] = "down"
    seed: Seed | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _leave_train(self)
        if self.order and self.seed is not None:
            raise ValueError(
                f"{self}: rows are either in the order of a column or in one that seed draws; leave one out."
            )

    @property
    def needed(self) -> tuple[str, ...]:
        """Splits that must have rows."""
        return _needed(val=self.val > 0, test=self.test > 0)


@dataclass(frozen=True)
class GivenSplit(Declared):
    """A column that holds ``train``, ``val`` or ``test`` (and names of optional extra splits, such as ``random``).

    Args:
        column: Raw column.
        needed: Splits that must have rows; one that is left out may be empty.
    """

    column: Name = "split"
    needed: Sequence[Name] = ("train", "val", "test")

    def __post_init__(self) -> None:
        super().__post_init__()
        if "train" not in self.needed:
            raise ValueError(f"{self}: needed={self.needed!r}; allowed are names of splits, train among them.")


def _leave_train(split: "RandomSplit | UserSplit") -> None:
    if split.val + split.test >= 1:
        raise ValueError(f"{split}: val and test must leave something for train; their sum is below 1.")


def _needed(**asked: bool) -> tuple[str, ...]:
    return ("train", *(name for name, there in asked.items() if there))


Split: TypeAlias = TimeSplit | RandomSplit | UserSplit | GivenSplit


FILE_SPLIT = "split of the file"
"""Column of the split that all rows of a file belong to."""
