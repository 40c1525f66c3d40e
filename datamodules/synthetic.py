"""Synthetic: KuaiRand-shaped rows from a seed, with a set correlation and conflict of the tasks."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from mtlzoo.datamodules.base import MultiTaskDataModule
from mtlzoo.datamodules.columns import CategoricalColumn, Label, NumericColumn, Recipe, SequenceColumn, TimeSplit

RATES: dict[str, float] = {
    "is_click": 0.442,
    "long_view": 0.311,
    "is_like": 0.0171,
    "is_profile_enter": 0.0185,
    "is_comment": 0.0025,
    "is_follow": 0.0013,
    "is_forward": 0.0009,
    "is_hate": 0.0008,
}
"""Share of positive rows of KuaiRand-Pure's labels, measured on 228,329 rows (2022-04-25 to 05-08)."""

BLOCK = 65_536
"""Rows drawn from one counter of the generator; a chunk is any number of whole blocks, so chunking changes nothing."""
DAYS = 30
FACTORS = 4
SIGNAL = 2.0  # deviation of the logits; the best possible AUC of a balanced task is then about .85
AUTHORS, SEGMENTS, TAGS, TABS = 500, 8, 40, 15
# Variance of a score by where it comes from: user, item, user x item, context.
PARTS = {"user": 0.3, "item": 0.3, "affinity": 0.3, "tab": 0.1}

Array = npt.NDArray[Any]


class Synthetic(MultiTaskDataModule):
    """Made-up interactions that look like KuaiRand: no file is read and no number found on them is a result.

    A row is a user, an item and a context (tab, hour), drawn with a long tail. Task t has the logit
    ``bias_t + 2 score_t``, and the score, of mean 0 and variance 1, is

        ``score_t = sqrt(correlation) * sign_t(user) * common + sqrt(1 - correlation) * own_t``

    where ``common`` and each ``own_t`` are independent sums of a user effect, an item effect, a tab effect and an inner
    product of user and item factors. The bias is set so that the expected rate of positives is the task's rate. This
    extends the construction of Ma et al. (MMoE, KDD 2018, section 3.2: two tasks whose weights have a set cosine) to
    users and items.

    * `correlation` is the correlation of the scores of any two tasks, as far as they agree.
    * `conflict` is the share of users on whom the second, fourth, ... task wants the opposite of the first, third, ...:
      there ``sign_t`` is -1, and the correlation of the two scores is ``-correlation``. Over all users it is
      ``correlation * (1 - 2 conflict)``. Being a matter of the user, no tower can undo it: it meets in the user's row
      of the shared table.

    Features: user_id, video_id, author_id, user_segment, tab, hour (categorical), follow_num, video_duration (numeric),
    tag (1 to 3 ids). Split by day: train 24 of 30 days, validation 3, test 3. The same arguments give the same rows,
    whatever the chunks; more `rows` draw more from the same users and items.

    Licence: none needed (Apache-2.0, as the code). Citation: none; these are not data.

    Args:
        rows: Number of rows.
        tasks: Number of binary tasks, named and ordered as in KuaiRand: is_click, long_view, is_like, ...
        correlation: In [0, 1], see above.
        conflict: In [0, 1], see above.
        users: Number of users that rows are drawn from.
        items: Number of items that rows are drawn from.
        rates: Share of positives of each task; the measured ones of KuaiRand-Pure if None.
        seed: Seed of everything drawn.
        base: `prepared`, `batch_size`, `eval_batch_size`, `shuffle_seed`: see `MultiTaskDataModule`.

    Raises:
        ValueError: An argument out of its range.
    """

    licence = "Apache-2.0 (generated)"
    citation = "none: generated rows, never a result"
    url = ""

    def __init__(
        self,
        rows: int = 200_000,
        tasks: int = 3,
        *,
        correlation: float = 0.5,
        conflict: float = 0.0,
        users: int = 5_000,
        items: int = 2_000,
        rates: Sequence[float] | None = None,
        seed: int = 0,
        **base: Any,
    ) -> None:
        super().__init__(root=Path(), **base)
        counts = {"rows": rows, "tasks": tasks, "users": users, "items": items}
        for name, value in {**counts, "seed": seed}.items():
            least = 0 if name == "seed" else 1
            if type(value) is not int or not least <= value < 2**63:
                raise ValueError(f"Synthetic: {name}={value!r}; allowed are whole numbers >= {least}.")
        names = list(RATES) + [f"task_{i}" for i in range(len(RATES) + 1, tasks + 1)]
        if rates is None and tasks > len(RATES):
            raise ValueError(f"Synthetic: tasks={tasks}; measured rates are known for {len(RATES)}, so give rates=.")
        if rates is not None and len(rates) != tasks:
            raise ValueError(f"Synthetic: {len(rates)} rates for {tasks} tasks; give one per task.")
        for name, share in {"correlation": correlation, "conflict": conflict}.items():
            if not 0 <= share <= 1:
                raise ValueError(f"Synthetic: {name}={share}; allowed are numbers in [0, 1].")
        self.rates = dict(zip(names[:tasks], rates or list(RATES.values()), strict=False))
        if not all(0 < rate < 1 for rate in self.rates.values()):
            raise ValueError(f"Synthetic: rates={list(self.rates.values())}; allowed are numbers above 0 and below 1.")
        self.rows, self.users, self.items, self.seed = rows, users, items, seed
        self.correlation, self.conflict = correlation, conflict

    @cached_property
    def recipe(self) -> Recipe:
        """KuaiRand-shaped columns, split by day."""
        return Recipe(
            columns=(
                *(CategoricalColumn(n) for n in ("user_id", "video_id", "author_id", "user_segment", "tab", "hour")),
                NumericColumn("follow_num", transform="log1p"),
                NumericColumn("video_duration", transform="log1p"),
                SequenceColumn("tag", max_length=3),
            ),
            labels=tuple(Label(name) for name in self.rates),
            split=TimeSplit("day", val=DAYS * 8 // 10, test=DAYS * 9 // 10),
            user="user_id",
            item="video_id",
            group="user_id",
            ids=("user_id", "video_id", "day"),
        )

    def files(self) -> tuple[Path, ...]:
        """No file."""
        return ()

    def options(self) -> Mapping[str, Any]:
        """Every argument that changes a row."""
        names = ("rows", "users", "items", "seed", "correlation", "conflict", "rates")
        return {name: getattr(self, name) for name in names}

    def read(self, blocks: int = 4) -> Iterator[pl.DataFrame]:
        """Chunks of `blocks` x 65,536 rows, in order of time."""
        world = _World(self)
        for start in range(0, self.rows, blocks * BLOCK):
            stop = min(start + blocks * BLOCK, self.rows)
            frame = pl.concat([world.block(i) for i in range(start // BLOCK, -(-stop // BLOCK))]).head(stop - start)
            day = pl.int_range(start, stop, dtype=pl.Int64, eager=True) * DAYS // self.rows
            yield frame.with_columns(day.alias("day"))


class _World:
    """The users and items of one `Synthetic`, and the rows between them."""

    def __init__(self, data: Synthetic) -> None:
        self.data = data
        fields = len(data.rates) + 1  # the common one first, then each task's own
        draw = self._stream(0)
        self.user_effect = draw.standard_normal((fields, data.users), dtype=np.float32)
        self.item_effect = draw.standard_normal((fields, data.items), dtype=np.float32)
        self.tab_effect = draw.standard_normal((fields, TABS), dtype=np.float32)
        self.user_factors = draw.standard_normal((fields, data.users, FACTORS), dtype=np.float32)
        self.item_factors = draw.standard_normal((fields, data.items, FACTORS), dtype=np.float32)
        self.opposed = draw.random(data.users) < data.conflict
        self.user_columns, self.item_columns = self._user_columns(draw), self._item_columns(draw)
        rows = self._rows(self._stream(1))
        self.bias = np.array(
            [_bias(score, rate) for score, rate in zip(self._scores(*rows), data.rates.values(), strict=True)]
        )

    def _stream(self, number: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=np.array([self.data.seed, number], dtype=np.uint64)))

    def block(self, number: int) -> pl.DataFrame:
        """Rows ``number * BLOCK`` to ``(number + 1) * BLOCK``, a function of the arguments and `number` alone."""
        draw = self._stream(2 + number)
        user, item, tab = rows = self._rows(draw)
        columns = {"user_id": user, "video_id": item, "tab": tab, "hour": draw.integers(0, 24, BLOCK)}
        for name, score, bias in zip(self.data.rates, self._scores(*rows), self.bias, strict=True):
            columns[name] = (draw.random(BLOCK) < _sigmoid(bias + SIGNAL * score)).astype(np.int8)
        return pl.DataFrame(columns).hstack(self.user_columns[user]).hstack(self.item_columns[item])

    def _rows(self, draw: np.random.Generator) -> tuple[Array, Array, Array]:
        # Powers of a uniform number: a long tail of users and items, and tab 0 as the most frequent.
        user = (self.data.users * draw.random(BLOCK) ** 1.5).astype(np.int64)
        item = (self.data.items * draw.random(BLOCK) ** 2.5).astype(np.int64)
        return user, item, (TABS * draw.random(BLOCK) ** 6).astype(np.int64)

    def _scores(self, user: Array, item: Array, tab: Array) -> Array:
        affinity = np.einsum("fbk,fbk->fb", self.user_factors[:, user], self.item_factors[:, item]) / FACTORS**0.5
        fields = (
            PARTS["user"] ** 0.5 * self.user_effect[:, user]
            + PARTS["item"] ** 0.5 * self.item_effect[:, item]
            + PARTS["affinity"] ** 0.5 * affinity
            + PARTS["tab"] ** 0.5 * self.tab_effect[:, tab]
        )
        common, own = fields[:1], fields[1:]
        odd = np.arange(len(own))[:, None] % 2 == 1
        sign = np.where(odd & self.opposed[user], -1.0, 1.0)
        scores: Array = self.data.correlation**0.5 * sign * common + (1 - self.data.correlation) ** 0.5 * own
        return scores

    def _user_columns(self, draw: np.random.Generator) -> pl.DataFrame:
        hint = (self.user_effect[0] + draw.standard_normal(self.data.users)) / 2**0.5
        segment = np.digitize(hint, np.linspace(-1.5, 1.5, SEGMENTS - 1))
        follows = np.exp(3 + draw.standard_normal(self.data.users) + hint).round()
        return pl.DataFrame({"user_segment": segment, "follow_num": follows})

    def _item_columns(self, draw: np.random.Generator) -> pl.DataFrame:
        items = self.data.items
        hint = (self.item_effect[0] + draw.standard_normal(items)) / 2**0.5
        # The first tag says where the item lies along the first common factor; the others are noise.
        first = np.digitize(self.item_factors[0, :, 0], np.linspace(-2, 2, TAGS - 1))
        tags = np.stack([first, *draw.integers(0, TAGS, (2, items))], axis=1)
        count = draw.integers(1, 4, items)
        text = [",".join(map(str, row[:n])) for row, n in zip(tags.tolist(), count.tolist(), strict=True)]
        author, duration = draw.integers(0, AUTHORS, items), np.exp(9.5 + 0.7 * hint).round()
        return pl.DataFrame({"author_id": author, "video_duration": duration, "tag": text})


def _sigmoid(logits: Array) -> Array:
    return 1 / (1 + np.exp(-logits))


def _bias(scores: Array, rate: float) -> float:
    """Bias at which the mean probability of `scores` is `rate`, by bisection."""
    low, high = -50.0, 50.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _sigmoid(middle + SIGNAL * scores).mean() < rate else (low, middle)
    return (low + high) / 2
