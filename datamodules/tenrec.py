"""Tenrec (Yuan et al., NeurIPS 2022): videos and articles in two of Tencent's feeds, with several kinds of feedback."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import polars as pl

from mtlzoo.datamodules.base import MultiTaskDataModule
from mtlzoo.datamodules.columns import (
    CategoricalColumn,
    Column,
    Label,
    RandomSplit,
    Recipe,
    SequenceColumn,
    UserSplit,
)
from mtlzoo.datamodules.download import obtain
from mtlzoo.datamodules.download.finding import there
from mtlzoo.datamodules.errors import DatasetNotFoundError
from mtlzoo.datamodules.prepare.encoders.sequences import from_columns
from mtlzoo.datamodules.reading import read_csv
from mtlzoo.datamodules.values.domains import Domain, flag, number, whole

Name: TypeAlias = Literal["ctr_data_1M", "QK-video", "QB-video", "QK-article", "QB-article"]


@dataclass(frozen=True)
class Scenario:
    """One of the publisher's files.

    Args:
        stems: Its name and the other spellings that the publisher uses, without ``.csv``.
        features: Columns that are known before the exposure and that name things.
        binary: Feedback that is 0 or 1.
        amounts: Feedback that is an amount.
        tasks: Tasks if none are chosen.
        history: Whether it has the columns ``hist_1`` to ``hist_10``.
        points: Whether whole numbers may be written as ``1.0``, as in articles.
    """

    stems: tuple[str, ...]
    features: tuple[str, ...]
    binary: tuple[str, ...]
    amounts: tuple[str, ...]
    tasks: tuple[str, ...]
    history: bool = False
    points: bool = False

    @property
    def domains(self) -> Mapping[str, Domain]:
        r"""What the columns may hold; ``\N``, which has been read as missing by then, in all but the ids."""
        code = whole(missing=True, points=self.points)
        return {
            **dict.fromkeys((*self.features, *HISTORY), code),
            **dict.fromkeys(self.binary, flag(missing=True, points=True)),
            **dict.fromkeys(self.amounts, number(0, missing=True)),
            **dict.fromkeys(("user_id", "item_id"), whole(points=self.points)),
        }


_VIDEO = ("user_id", "item_id", "video_category", "gender", "age")
_ARTICLE = ("user_id", "item_id", "category_first", "category_second", "gender", "age")
_ACTIONS = ("click", "like", "share", "follow")
SCENARIOS: dict[str, Scenario] = {
    "ctr_data_1M": Scenario(("ctr_data_1M",), _VIDEO, _ACTIONS, ("watching_times",), ("click", "like"), history=True),
    "QK-video": Scenario(("QK-video", "QK_video"), _VIDEO, _ACTIONS, ("watching_times",), ("click", "like")),
    "QB-video": Scenario(("QB-video", "QB_video"), _VIDEO, _ACTIONS, ("watching_times",), ("click", "like")),
    "QK-article": Scenario(
        ("QK-article", "QK-artilce", "QK_article"),
        _ARTICLE,
        ("click", "read", "like", "share", "follow", "favorite"),
        ("read_percentage", "read_time"),
        ("read", "like"),
        points=True,
    ),
    "QB-article": Scenario(
        ("QB-article", "QB-artilce", "QB_article"),
        _ARTICLE,
        ("click",),
        ("read_percentage",),
        ("click", "read_percentage"),
        points=True,
    ),
}
HISTORY = tuple(f"hist_{i}" for i in range(1, 11))


class Tenrec(MultiTaskDataModule):
    r"""Exposures of videos and articles in the feeds QK and QB.

    * Features: user_id, item_id, gender, age and the item's category; with ``ctr_data_1M`` also `history`, ten items
      that the user clicked, which share the table of item_id. No feedback is a feature (`watching_times`,
      `read_percentage` and `read_time` are feedback), nor are the counts and scores of articles: nothing says which
      period they are from.
    * Rows as published, repeated exposures included. ``\N`` is missing: "unknown" in a feature, not observed in a
      label.
    * Reads one file, plain or ``.gz``, at `root` or ``root/Tenrec``; where it is missing and ``Tenrec.zip`` is at
      `root`, that is unpacked. There is no download without the licence agreement.

    Licence: CC BY-NC 4.0, for research. Source: https://static.qblv.qq.com/qblv/h5/algo-frontend/tenrec_dataset.html.
    Citation: Yuan et al., Tenrec: A Large-scale Multipurpose Benchmark Dataset for Recommender Systems, NeurIPS 2022.

    Args:
        root: Folder of the files, see above.
        scenario: ``ctr_data_1M`` (120 million exposures of one million QK-video users: the file of Tenrec's multi-task
            experiments, and by its size the one that the STEM paper calls QK-Video), ``QK-video`` (493 million),
            ``QB-video`` (2.4 million), ``QK-article`` or ``QB-article``.
        tasks: Labels to predict, in this order. Videos: click, like, share, follow (binary), watching_times
            (regression). QK-article: click, read, like, share, follow, favorite (binary), read_percentage, read_time
            (regression). QB-article: click and read_percentage. None: click and like (Tenrec's and STEM's) for videos,
            read and like for QK-article, both for QB-article; almost all articles are clicked.
        split: ``user``: the first 80 % of each user's rows are train, rounded down, then 10 % validation, the rest
            test. The STEM paper (AAAI 2024) does not say how it splits ``ctr_data_1M``, but the sizes that it states
            fit this rule. ``random``: 80, 10 and 10 % of the rows, as in the Tenrec paper's experiments.
        negatives_per_click: Keep so many rows without click per row with one, drawn at random from the whole file;
            Tenrec's experiments keep 2. None keeps every row, as by its counts STEM does.
        min_count: Users and items seen less often in train are "unknown". 10 is what the STEM repository uses on
            TikTok; it says nothing of Tenrec.
        seed: Of the random split and of the rows that `negatives_per_click` keeps.
        base: `prepared`, `batch_size`, `eval_batch_size`, `shuffle_seed`: see `MultiTaskDataModule`.

    Raises:
        ValueError: An unknown scenario, task or split, or `negatives_per_click` that is not above 0.
    """

    licence = "CC BY-NC 4.0, after accepting the publisher's agreement"
    citation = "Yuan et al., Tenrec, NeurIPS 2022, arXiv 2210.10629"
    url = "https://static.qblv.qq.com/qblv/h5/algo-frontend/tenrec_dataset.html"

    def __init__(
        self,
        root: str | PathLike[str] = "data/tenrec",
        *,
        scenario: Name = "ctr_data_1M",
        tasks: Sequence[str] | None = None,
        split: Literal["user", "random"] = "user",
        negatives_per_click: float | None = None,
        min_count: int = 10,
        seed: int = 0,
        **base: Any,
    ) -> None:
        super().__init__(root, **base)
        if scenario not in SCENARIOS:
            raise ValueError(f"Tenrec: scenario={scenario!r}; allowed are {list(SCENARIOS)}.")
        self.scenario, self._about = scenario, SCENARIOS[scenario]
        allowed = self._about.binary + self._about.amounts
        chosen = self._about.tasks if tasks is None else tuple(tasks)
        if not chosen or set(chosen) - set(allowed):
            raise ValueError(f"Tenrec: tasks={list(chosen)}; allowed with {scenario} are {list(allowed)}.")
        if split not in ("user", "random"):
            raise ValueError(f"Tenrec: split={split!r}; allowed are 'user' and 'random'.")
        if negatives_per_click is not None and not negatives_per_click > 0:
            raise ValueError(f"Tenrec: negatives_per_click={negatives_per_click}; allowed are numbers > 0 and None.")
        self.tasks, self.split, self.seed = chosen, split, seed
        self.negatives_per_click, self.min_count = negatives_per_click, min_count

    @cached_property
    def recipe(self) -> Recipe:
        """Features of the scenario, chosen labels and split."""
        ids = {"user_id": self.min_count, "item_id": self.min_count}
        columns: list[Column] = [CategoricalColumn(name, min_count=ids.get(name, 1)) for name in self._about.features]
        if self._about.history:
            columns.append(SequenceColumn("history", len(HISTORY), min_count=self.min_count, table="item_id"))
        return Recipe(
            columns=tuple(columns),
            labels=tuple(Label(t, kind="binary" if t in self._about.binary else "regression") for t in self.tasks),
            split=UserSplit("user_id", rounding="up") if self.split == "user" else RandomSplit(seed=self.seed),
            user="user_id",
            item="item_id",
            group="user_id",
            ids=("user_id", "item_id"),
        )

    def options(self) -> Mapping[str, Any]:
        """What `read` depends on beyond the recipe."""
        sampling = {} if self.negatives_per_click is None else {"seed": self.seed}
        return {"scenario": self.scenario, "negatives_per_click": self.negatives_per_click, **sampling}

    def files(self) -> tuple[Path, ...]:
        """The file of the scenario; unpacks ``Tenrec.zip`` where only that is there.

        Raises:
            DatasetNotFoundError: No such file.
        """
        obtain(self.url, self.root / "Tenrec.zip", there=lambda: self._file, allowed=False)
        if self._file is None:
            names = [f"{stem}.csv" for stem in self._about.stems]
            raise DatasetNotFoundError(
                f"Tenrec: no {' or '.join(names)} (or .gz) in {self.root} or {self.root / 'Tenrec'}. Accept the "
                f"licence at {self.url}, download it, and put the file there, or give its folder as root=."
            )
        return (self._file,)

    def read(self) -> Iterator[pl.DataFrame]:
        """Rows of the file, in its order; all, or the clicks and a part of the others."""
        (path,) = self.files()
        kept, draw = self._kept(path), np.random.default_rng(self.seed)
        history = HISTORY if self._about.history else ()
        columns = {name: self._about.domains[name] for name in ("click", *self.tasks, *self._about.features, *history)}
        for rows in read_csv(path, columns=columns, null_values=[r"\N"]):
            if kept < 1:
                chosen = (rows["click"] == 1).fill_null(False) | pl.Series(draw.random(len(rows)) < kept)
                rows = self.tally.keep(rows, chosen, "without click, not drawn")
            if history:
                rows = rows.with_columns(from_columns(rows.select(history), padding=0).alias("history"))
            yield rows

    def _kept(self, path: Path) -> float:
        """The share of the rows without click that is kept."""
        if self.negatives_per_click is None:
            return 1.0
        clicks = others = 0
        for rows in read_csv(path, columns={"click": self._about.domains["click"]}, null_values=[r"\N"]):
            clicked = int((rows["click"] == 1).sum())
            clicks, others = clicks + clicked, others + len(rows) - clicked
        return min(1.0, self.negatives_per_click * clicks / max(1, others))

    @property
    def _file(self) -> Path | None:
        folders = (self.root, self.root / "Tenrec")
        names = [f"{stem}.csv{packed}" for packed in ("", ".gz") for stem in self._about.stems]
        return next((folder / name for folder in folders for name in names if there(folder / name)), None)
