"""`RecommendingModule`: a trained model of rankings names the best items of all for users."""

import warnings
from abc import abstractmethod
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mtlzoo.module import MultiTaskModule
from mtlzoo.ranking.full_ranking import top_scores
from mtlzoo.schema import FIRST_KNOWN

# What reads rows is imported where it is used: a training needs none of it here.

NAME = "recommend"
"""What the rows are called in messages."""
USERS = 4096
"""Users at a time."""
PADDED = 2**24
"""Ids of items that are left out at a time, padding included: 64 MB."""


class RecommendingModule(MultiTaskModule):
    """A model that ranks by dot products of one vector per user and one per item."""

    @abstractmethod
    def vectors(self) -> tuple[Tensor, Tensor]:
        """Vectors of all users and of all items, by id: float [users, d], [items, d]."""

    def recommend(self, users: Any, k: int = 20, *, exclude: Any = None, exclude_train: bool = True) -> Any:
        """The best items of all for each user, ranked exactly as the metrics of rankings do, equal scores too.

        Args:
            users: Of pandas, polars or Arrow, a dictionary of columns, or a list of dictionaries, with the column of
                the user.
            k: Items per user.
            exclude: Pairs that are left out, in a table like `users`, with the columns of user and item.
            exclude_train: Leaves out what a user has seen in train, as the metrics do.

        Returns:
            In the kind of `users`: user, ``rank`` from 1, item and ``score``, which is what `predict` says of the pair.
            Users come in the order asked; one for whom less than k items are left has less rows. Those that train does
            not know have none, and a `DataWarning` names them.

        Raises:
            DataError: Columns that are missing, or values that they may not hold.
            ValueError: The model learns no ranking or has diverged, k is below 1, or nothing says any more what users
                have seen in train.
            DatasetNotFoundError: Nothing says any more how the data of its training were encoded.
        """
        import polars as pl

        from mtlzoo.datamodules.prepare.frames import as_frame
        from mtlzoo.datamodules.prepare.given_kind import frame_in_kind
        from mtlzoo.datamodules.prepare.known_names import KnownNames

        self.check_ranks()
        plan = self._row_encoder()[0].plan
        people, things = (KnownNames(plan, str(name)) for name in (self.schema.user, self.schema.item))
        asked = as_frame(users, NAME, [people.column])
        ids = people.ids(asked[people.column])
        known = np.flatnonzero(ids >= FIRST_KNOWN)
        _warn_unknown(asked[people.column].filter(pl.Series(ids < FIRST_KNOWN)))
        hidden = [self._seen_in_train()] if exclude_train else []
        if exclude is not None:
            pairs = as_frame(exclude, f"{NAME}, exclude=", [people.column, things.column])
            hidden.append(_pairs(pairs, people, things))
        scores, items = self._ranked(ids[known], k, hidden)
        shown = items > 0
        row, rank = np.nonzero(shown)
        best = pl.DataFrame(
            [
                asked[people.column].gather(known[row]),
                pl.Series(_apart("rank", people.column, things.column), rank + 1, dtype=pl.Int64),
                things.names(items[shown]),
                pl.Series(_apart("score", people.column, things.column), scores[shown]),
            ]
        )
        return frame_in_kind(users, best)

    def check_ranks(self) -> None:
        """Refuses a model whose dot products rank nothing.

        Raises:
            ValueError: With its tasks.
        """
        if not any(task.kind == "ranking" for task in self.schema.tasks):
            tasks = ", ".join(f"{task.name} ({task.kind})" for task in self.schema.tasks)
            raise ValueError(
                f"{type(self).__name__} learned no ranking but {tasks}; train it with a task of that kind."
            )

    def _ranked(self, users: Any, k: int, hidden: list[Any]) -> tuple[Any, Any]:
        """Scores and ids of the best items, [users, k] each."""
        if isinstance(k, bool) or not isinstance(k, Integral) or k < 1:
            raise ValueError(f"{NAME}: k={k!r}; allowed is a whole number >= 1.")
        with self._answering():
            of_users, of_items = self.vectors()
            if not (of_users.isfinite().all() & of_items.isfinite().all()):
                raise ValueError(f"{type(self).__name__} has vectors that are not finite: it diverged. Train it again.")
            longest = sum(int(lists.sizes.max(initial=1)) for lists in hidden)
            size = min(USERS, max(1, PADDED // max(longest, 1)))
            parts = []
            for start in range(0, max(len(users), 1), size):
                some = users[start : start + size]
                left_out = np.concatenate(
                    [np.zeros((len(some), 1), np.int32), *(each.padded(some) for each in hidden)], 1
                )
                of_some = of_users[torch.from_numpy(some).to(self.device)]
                top = top_scores(of_some, of_items, int(k), torch.from_numpy(left_out).to(self.device))
                parts.append([values.cpu().numpy() for values in top])
        scores, items = (np.concatenate(each) for each in zip(*parts, strict=True))
        return scores, items

    def _seen_in_train(self) -> Any:
        if self.seen is None:
            raise ValueError(
                f"{type(self).__name__}: nothing says any more what users have seen in train. Prepare its data again "
                "(mtlzoo prepare; then an export keeps it), or give exclude_train=False, and pairs of your own as "
                "exclude=."
            )
        return self.seen


def _apart(name: str, *others: str) -> str:
    """A name that others do not have."""
    while name in others:
        name += "_"
    return name


def _pairs(rows: Any, people: Any, things: Any) -> Any:
    """Items of each user; what train does not know is ranked for nobody."""
    from mtlzoo.datamodules.prepare.lists import Lists

    users, items = (names.ids(rows[names.column]) for names in (people, things))
    known = (users >= FIRST_KNOWN) & (items >= FIRST_KNOWN)
    return Lists.of(users[known], items[known], people.table.cardinality)


def _warn_unknown(users: Any) -> None:
    from mtlzoo.datamodules.errors import DataWarning

    if len(users):
        some = ", ".join(repr(user) for user in users.unique(maintain_order=True)[:5])
        remark = f"{NAME}: train does not know {len(users):,} of the users ({some}); they have no rows"
        warnings.warn_explicit(remark, DataWarning, "mtlzoo", 0)
