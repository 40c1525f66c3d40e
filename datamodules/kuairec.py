"""KuaiRec (Gao et al., CIKM 2022): how long videos were watched, and a matrix without gaps to test on."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import polars as pl

from mtlzoo.datamodules.base import MultiTaskDataModule
from mtlzoo.datamodules.columns import (
    CategoricalColumn,
    Column,
    GivenSplit,
    Label,
    NumericColumn,
    Recipe,
    SequenceColumn,
)
from mtlzoo.datamodules.download import obtain
from mtlzoo.datamodules.download.finding import present
from mtlzoo.datamodules.errors import DatasetNotFoundError
from mtlzoo.datamodules.kuairand import CODE, NAME, USER, USER_CODES, USER_COUNTS, USER_NAMES, is_day
from mtlzoo.datamodules.logs import SideTable
from mtlzoo.datamodules.reading import read_csv
from mtlzoo.datamodules.reading.python_literals import integer_lists
from mtlzoo.datamodules.values.domains import day, number, text, whole

BINARY = {
    "complete": pl.col("watch_ratio") >= 1,
    "long_view": (pl.col("play_duration") >= 18_000) | (pl.col("play_duration") >= pl.col("video_duration")),
    "like": pl.col("watch_ratio") > 2,
}
"""Tasks that are made of how long (ms) a video was watched: there is no other feedback."""
REGRESSION = ("watch_ratio",)
VIDEO_NAMES = ("video_type", "upload_type")
VIDEO_CODES = ("author_id", "music_id", "video_tag_id")
VIDEO = dict.fromkeys(VIDEO_NAMES, NAME) | dict.fromkeys(VIDEO_CODES, CODE)
DAYS = (date(2020, 7, 1), date(2020, 9, 30))
DAILY = {"video_id": whole(), "date": day(*DAYS), **VIDEO}
"""What the columns of the daily table of videos may hold, as far as they are read."""
CATEGORIES = {
    "video_id": whole(),
    "feat": text(r"\[([0-9]{1,9}(, ?[0-9]{1,9})*)?\]", "a list of integers such as [27, 9]", missing=True),
}
"""What the columns of the videos' categories may hold."""
MATRIX = {
    "user_id": whole(),
    "video_id": whole(),
    "play_duration": number(0, missing=True),
    "video_duration": number(0, missing=True),
    "time": text(
        r"2020-0[789]-(0[1-9]|[12][0-9]|3[01]) ([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?",
        "a time of July to September 2020, such as 2020-07-05 00:08:23.438",
        missing=True,
    ),
    "date": day(*DAYS, points=True),
    "timestamp": number(1_593_475_200, 1_601_596_800, missing=True),  # 2020-06-30 to 2020-10-02
    "watch_ratio": number(0, missing=True),
}
"""What the columns of the big matrix may hold; dates are whole numbers, but floats where some are missing."""
SMALL = MATRIX | {"date": day(*DAYS, points=True, missing=True)}
"""Of the small matrix: some rows have neither time nor date."""


class KuaiRec(MultiTaskDataModule):
    """Views of Kuaishou's videos in the summer of 2020, with three binary tasks and the watched ratio.

    * Features: user_id, video_id, the video's author, music, tag, types, duration and categories (`feat`, a sequence),
      the hour, and the user table. Nothing that was watched is a feature (`play_duration`, `watch_ratio`), nor is the
      date, nor are the daily counts of the videos, nor captions and friends.
    * Split by date: train before `val_from`, validation before `test_from`, test from then on, of the big matrix.
    * Reads ``big_matrix.csv``, ``user_features.csv``, ``item_categories.csv`` and ``item_daily_features.csv`` (of the
      days of a video the earliest), plain or ``.gz``, at ``root/KuaiRec/data``, ``root/KuaiRec 2.0/data``,
      ``root/data`` or `root`. If there is none, the archive is downloaded from Zenodo (432 MB) and unpacked at `root`.

    Licence: CC BY-SA 4.0. Source: https://zenodo.org/records/18164998. Citation: Gao et al., KuaiRec: A Fully-observed
    Dataset and Insights for Evaluating Recommender Systems, CIKM 2022, doi 10.1145/3511808.3557220.

    Args:
        root: Folder of the files, see above.
        tasks: Labels to predict, in this order. complete: watched at least once through (ratio >= 1). long_view: at
            least 18 seconds or the whole video, as KuaiRand defines it. like: more than twice (ratio > 2), the
            publishers' example. watch_ratio: a regression.
        val_from: First day of validation, as yyyymmdd.
        test_from: First day of test, as yyyymmdd.
        small_matrix: Test and predict on ``small_matrix.csv`` (split ``small``: 1,411 users who saw nearly all of 3,327
            videos, so free of the recommender's selection) instead of the big matrix. Train and validation stay. It was
            collected in the same weeks.
        min_count: User, video, author, music and tag ids seen less often in train are "unknown".
        download: Download the archive where the files are missing.
        base: `prepared`, `batch_size`, `eval_batch_size`, `shuffle_seed`: see `MultiTaskDataModule`.

    Raises:
        ValueError: An unknown task, a date that is none, `test_from` not after `val_from`.
    """

    licence = "CC BY-SA 4.0"
    citation = "Gao et al., KuaiRec, CIKM 2022, doi 10.1145/3511808.3557220"
    url = "https://zenodo.org/records/18164998/files/KuaiRec.zip"
    md5 = "261550d472c48eff4990fb13c0e5bcf7"

    def __init__(
        self,
        root: str | PathLike[str] = "data/kuairec",
        *,
        tasks: Sequence[str] = ("complete", "long_view", "like"),
        val_from: int = 20200822,
        test_from: int = 20200829,
        small_matrix: bool = False,
        min_count: int = 2,
        download: bool = True,
        **base: Any,
    ) -> None:
        super().__init__(root, **base)
        allowed = (*BINARY, *REGRESSION)
        if not tasks or set(tasks) - set(allowed):
            raise ValueError(f"KuaiRec: tasks={list(tasks)}; allowed are {list(allowed)}.")
        for name, bound in (("val_from", val_from), ("test_from", test_from)):
            if not is_day(bound):
                raise ValueError(f"KuaiRec: {name}={bound} is not a day; write it as yyyymmdd.")
        if not val_from < test_from:
            raise ValueError(f"KuaiRec: test_from={test_from} must be after val_from={val_from}.")
        self.tasks, self.val_from, self.test_from = tuple(tasks), val_from, test_from
        self.small_matrix, self.min_count, self.download = small_matrix, min_count, download

    @cached_property
    def recipe(self) -> Recipe:
        """User, video and context features; labels and split are columns that `read` makes."""
        ids = ("user_id", "video_id", *VIDEO_CODES)
        columns: tuple[Column, ...] = (
            *(CategoricalColumn(name, min_count=self.min_count) for name in ids),
            *(CategoricalColumn(name) for name in ("hour", *USER_NAMES, *USER_CODES, *VIDEO_NAMES)),
            *(NumericColumn(name, transform="log1p") for name in (*USER_COUNTS, "video_duration")),
            SequenceColumn("feat", max_length=4),
        )
        return Recipe(
            columns=columns,
            labels=tuple(Label(task, kind="binary" if task in BINARY else "regression") for task in self.tasks),
            split=GivenSplit("split"),
            user="user_id",
            item="video_id",
            group="user_id",
            ids=("user_id", "video_id", "timestamp"),
        )

    def options(self) -> Mapping[str, Any]:
        """What `read` depends on beyond the recipe."""
        return {name: getattr(self, name) for name in ("val_from", "test_from", "small_matrix")}

    def files(self) -> tuple[Path, ...]:
        """The big matrix (and the small one where it is used), then the three tables; downloads where there is none.

        Raises:
            DatasetNotFoundError: No big matrix, or another file missing beside it.
        """
        obtain(self.url, self.root / "KuaiRec.zip", there=lambda: self._folder, md5=self.md5, allowed=self.download)
        if self._folder is None:
            raise DatasetNotFoundError(
                f"KuaiRec: no big_matrix.csv(.gz) in {[str(folder) for folder in self._folders]}. Unpack {self.url} in "
                f"{self.root}, give its folder as root=, or allow download=True and writing."
            )
        stems = ("big_matrix", *(["small_matrix"] if self.small_matrix else []))
        return tuple(map(self._required, (*stems, "user_features", "item_categories", "item_daily_features")))

    def read(self) -> Iterator[pl.DataFrame]:
        """Rows of the matrix or matrices with user and video features, labels and split, in file order."""
        *matrices, user_file, category_file, video_file = self.files()
        users = SideTable.read(user_file, "user_id", USER, tally=self.tally)
        daily = pl.concat(read_csv(video_file, columns=DAILY)).sort("date", maintain_order=True).drop("date")
        videos = SideTable(daily, "video_id", video_file, tally=self.tally)
        categories = pl.concat(read_csv(category_file, columns=CATEGORIES))
        categories = categories.with_columns(integer_lists(categories["feat"], "feat"))
        feat = SideTable(categories, "video_id", category_file, once=True, tally=self.tally)
        for path in matrices:
            small = path.name.startswith("small")
            for rows in read_csv(path, columns=SMALL if small else MATRIX):
                rows = rows.with_columns(
                    pl.lit("small").alias("split") if small else self._split,
                    pl.col("time").str.slice(11, 2).cast(pl.Int64).alias("hour"),
                    **{task: label for task, label in BINARY.items() if task in self.tasks},
                )
                found = (users.of(rows["user_id"]), videos.of(rows["video_id"]), feat.of(rows["video_id"]))
                yield pl.concat([rows, *found], how="horizontal")

    @property
    def tested(self) -> str:
        """The test split, or with `small_matrix` the small one."""
        return "small" if self.small_matrix else "test"

    @property
    def _split(self) -> pl.Expr:
        seen = pl.col("date")
        split = pl.when(seen < self.val_from).then(pl.lit("train")).when(seen < self.test_from).then(pl.lit("val"))
        return split.otherwise(pl.lit("test")).alias("split")

    # ---- where the files are

    @property
    def _folders(self) -> list[Path]:
        return [self.root / "KuaiRec" / "data", self.root / "KuaiRec 2.0" / "data", self.root / "data", self.root]

    @property
    def _folder(self) -> Path | None:
        return next((folder for folder in self._folders if present(folder, ["big_matrix.csv"])), None)

    def _required(self, stem: str) -> Path:
        assert self._folder is not None
        if found := present(self._folder, [f"{stem}.csv"]):
            return found[0]
        raise DatasetNotFoundError(
            f"KuaiRec: {stem}.csv(.gz) is not in {self._folder}, beside big_matrix.csv. It is part of {self.url}; "
            "archives from before May 2022 lack some files."
        )
