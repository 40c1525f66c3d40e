"""`PairsDataModule`: users, items, and nothing else that is known of a row but its labels."""

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

from mtlzoo.datamodules.columns import CategoricalColumn, Label, RandomSplit, Recipe, Split, UserSplit
from mtlzoo.datamodules.ranking import RankingDataModule
from mtlzoo.schema import Links


class PairsDataModule(RankingDataModule):
    """Rows of a user and an item, the only features, whose tasks are chosen by name.

    A subclass says what there is to choose from, and gives `files`, `read` (columns ``user``, ``item`` and those of the
    labels) and `read_links`.

    Args:
        root: Folder of the publisher's files.
        tasks: Names of labels, in this order. One at least must be of the rows: no link, no alignment.
        split: ``random``: each row by itself. ``user``: the same shares of each user's rows, at random; where they give
            no whole rows, train is short (``rounding="up"`` of `UserSplit`).
        val: Share of validation.
        test: Share of test.
        seed: Of the split.
        **base: See `RankingDataModule`.

    Raises:
        ValueError: An unknown task or split.
    """

    choices: ClassVar[Mapping[str, Label]]
    """Labels by the name of their task."""
    between: ClassVar[Mapping[str, Links]]
    """Links by the name of theirs."""

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        tasks: Sequence[str],
        split: Literal["random", "user"] = "random",
        val: float = 0.2,
        test: float = 0.2,
        seed: int = 0,
        **base: Any,
    ) -> None:
        super().__init__(root, **base)
        name = type(self).__name__
        of_rows = [task for task, label in self.choices.items() if label.kind not in ("link", "alignment")]
        if set(tasks) - set(self.choices) or not set(tasks) & set(of_rows):
            raise ValueError(
                f"{name}: tasks={list(tasks)}; allowed are {list(self.choices)}, and {' or '.join(of_rows)}, which are "
                "of the rows, must be among them."
            )
        if split not in ("random", "user"):
            raise ValueError(f"{name}: split={split!r}; allowed are 'random' and 'user'.")
        self.split: str = split
        self.tasks, self.val, self.test, self.seed = tuple(tasks), val, test, seed

    @cached_property
    def recipe(self) -> Recipe:
        """User and item, the chosen labels and their links."""
        return Recipe(
            columns=(CategoricalColumn("user"), CategoricalColumn("item")),
            labels=tuple(self.choices[task] for task in self.tasks),
            split=self.declared_split,
            user="user",
            item="item",
            group="user",
            ids=("user", "item"),
            links=tuple(self.between[task] for task in self.tasks if task in self.between),
        )

    @property
    def declared_split(self) -> Split:
        """The split of the recipe."""
        if self.split == "random":
            return RandomSplit(self.val, self.test, self.seed)
        return UserSplit("user", val=self.val, test=self.test, rounding="up", seed=self.seed)
