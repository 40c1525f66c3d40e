"""KuaiRand (Gao et al., CIKM 2022): short-video exposures with eight kinds of feedback."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Literal

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
from mtlzoo.datamodules.logs import SideTable
from mtlzoo.datamodules.logs.past import Past
from mtlzoo.datamodules.reading import read_csv
from mtlzoo.datamodules.values.domains import HIGHEST_ID, Domain, day, flag, number, text, whole

BINARY = ("is_click", "long_view", "is_like", "is_profile_enter", "is_comment", "is_follow", "is_forward", "is_hate")
"""Feedback that may be a task, most frequent first."""
REGRESSION = ("play_time_ms",)
"""Milliseconds watched; may exceed the video's length, as videos repeat."""
ARCHIVES = {
    "pure": ("KuaiRand-Pure", "0820331067a3784d9691136f772b35a7"),
    "1k": ("KuaiRand-1K", "6b0b9c8222d67fcd4c676218edca3f1f"),
    "27k": ("KuaiRand-27K", "3e3c799a24e2d23a4d2c757fbf9adf59"),
}
"""Folder in each version's archive on Zenodo, which is named after it, and the archive's md5."""

USER_COUNTS = ("follow_user_num", "fans_user_num", "friend_user_num", "register_days")
USER_NAMES = ("user_active_degree", *(f"{count}_range" for count in USER_COUNTS))
USER_CODES = ("is_live_streamer", "is_video_author", *(f"onehot_feat{i}" for i in range(18)))
VIDEO_CODES = ("author_id", "music_id", "music_type", "server_width", "server_height")

ID = whole(0, HIGHEST_ID)
NAME = text(missing=True)
CODE = whole(unknown=[-124], missing=True, points=True)
"""``1`` in one column and ``1.0`` in the next; -124 is the publisher's "unknown"."""
COUNT = number(0, missing=True, dtype=pl.Float32)
LOG = {
    "user_id": ID,
    "video_id": ID,
    "date": day(date(2022, 4, 8), date(2022, 5, 8)),
    "hourmin": Domain("an hour and a minute from 0 to 2359", lambda x: x.is_between(0, 2359) & (x % 100 < 60)),
    "time_ms": whole(1_649_289_600_000, 1_652_140_800_000),  # 2022-04-07 to 05-10: dates are those of Beijing
    **dict.fromkeys(BINARY, flag()),
    **dict.fromkeys(REGRESSION, whole()),
    "tab": whole(0, 14),
}
"""What the columns of the logs may hold."""
USER = dict.fromkeys(USER_NAMES, NAME) | dict.fromkeys(USER_CODES, CODE) | dict.fromkeys(USER_COUNTS, COUNT)
"""What the columns of the user table may hold."""
VIDEO = {
    "video_type": NAME,
    "upload_type": NAME,
    "tag": text("-?[0-9]+(,-?[0-9]+)*", "whole numbers between commas", missing=True),
    **dict.fromkeys(VIDEO_CODES, CODE),
    "video_duration": COUNT,
}
"""What the columns of the basic video table may hold."""
PAST = (NumericColumn("user_shown", transform="log1p"), NumericColumn("user_click_rate"))


class KuaiRand(MultiTaskDataModule):
    """Exposures of Kuaishou's feed with up to eight binary labels and the watched time.

    * Features: user_id, video_id, author_id, music_id, tab, hour, the user table, the basic video table (tag as a
      sequence). No outcome of the exposure is a feature (labels, play, profile and comment time), nor is the date, nor
      the video statistics table, whose averages cover the month that is to be predicted. `past` adds what the user did
      in the hours before.
    * Split by date: train before `val_from`, validation before `test_from`, test from then on.
    * Takes every standard log that is there (`log_standard_4_08_to_4_21`, `log_standard_4_22_to_5_08`, the parts of
      27K), plain or ``.gz``, at ``root/KuaiRand-{Pure,1K,27K}/data``, ``root/data`` or `root`. If there is none, the
      archive is downloaded from Zenodo (45 MB, 1 GB, 46 GB) and unpacked at `root`.
    * Rows as published: repeated exposures stay, labels are not recomputed. ``-124`` (unknown) is a value of its own;
      other missing values are "unknown" (categorical) or the mean (numeric). Like is not a subset of click.

    While it is prepared, the video table is in memory: 1 GB for the 4.4 million videos of 1K, so some 7 GB for 27K.

    Licence: CC BY-SA 4.0. Source: https://zenodo.org/records/10439422. Citation: Gao et al., KuaiRand: An Unbiased
    Sequential Recommendation Dataset with Randomly Exposed Videos, CIKM 2022, doi 10.1145/3511808.3557624.

    Args:
        root: Folder of the files, see above.
        version: ``pure`` (1.4 million rows, 7,583 videos), ``1k`` (11.7 million rows of 1,000 users) or ``27k`` (322
            million rows).
        tasks: Labels to predict, in this order: any of is_click, long_view, is_like, is_profile_enter, is_comment,
            is_follow, is_forward, is_hate (binary) and play_time_ms (regression).
        val_from: First day of validation, as yyyymmdd.
        test_from: First day of test, as yyyymmdd.
        random_log: Test and predict on the randomly exposed videos (split ``random``: the random log from `test_from`
            on, free of the recommender's selection) instead of on the standard log. Train and validation stay.
        past: Two more features: how much the user was shown in the standard logs before the hour of the exposure, and
            which share of it was clicked. Rows of test then know earlier rows of test, as a running system would; most
            papers' models do not, and the logs are read twice, so it must be asked for.
        min_count: User, video, author and music ids seen less often in train are "unknown".
        download: Download the archive where the files are missing.
        base: `prepared`, `batch_size`, `eval_batch_size`, `shuffle_seed`: see `MultiTaskDataModule`.

    Raises:
        ValueError: An unknown version or task, a date that is none, `test_from` not after `val_from`.
    """

    licence = "CC BY-SA 4.0"
    citation = "Gao et al., KuaiRand, CIKM 2022, doi 10.1145/3511808.3557624"
    url = "https://zenodo.org/records/10439422"

    def __init__(
        self,
        root: str | PathLike[str] = "data/kuairand",
        *,
        version: Literal["pure", "1k", "27k"] = "pure",
        tasks: Sequence[str] = ("is_click", "long_view", "is_like"),
        val_from: int = 20220503,
        test_from: int = 20220505,
        random_log: bool = False,
        past: bool = False,
        min_count: int = 2,
        download: bool = True,
        **base: Any,
    ) -> None:
        super().__init__(root, **base)
        if version not in ARCHIVES:
            raise ValueError(f"KuaiRand: version={version!r}; allowed are {list(ARCHIVES)}.")
        allowed = BINARY + REGRESSION
        if wrong := [task for task in tasks if task not in allowed]:
            raise ValueError(f"KuaiRand: tasks {wrong} are not labels; allowed are {list(allowed)}.")
        if not tasks:
            raise ValueError(f"KuaiRand: no task; allowed are {list(allowed)}.")
        for name, bound in (("val_from", val_from), ("test_from", test_from)):
            if not is_day(bound):
                raise ValueError(f"KuaiRand: {name}={bound} is not a day; write it as yyyymmdd.")
        if not val_from < test_from:
            raise ValueError(f"KuaiRand: test_from={test_from} must be after val_from={val_from}.")
        self.version, self.tasks, self.download = version, tuple(tasks), download
        self.val_from, self.test_from, self.random_log = val_from, test_from, random_log
        self.past, self.min_count = past, min_count

    @cached_property
    def recipe(self) -> Recipe:
        """User, video and context features; the split is a column that `read` makes of the date."""
        ids = ("user_id", "video_id", "author_id", "music_id")
        names = ("tab", "hour", *USER_NAMES, *USER_CODES, "video_type", "upload_type", *VIDEO_CODES[2:])
        columns: tuple[Column, ...] = (
            *(CategoricalColumn(name, min_count=self.min_count) for name in ids),
            *(CategoricalColumn(name) for name in names),
            *(NumericColumn(name, transform="log1p") for name in (*USER_COUNTS, "video_duration")),
            *(PAST if self.past else ()),
            SequenceColumn("tag", max_length=3),
        )
        return Recipe(
            columns=columns,
            labels=tuple(Label(t, kind="binary" if t in BINARY else "regression") for t in self.tasks),
            split=GivenSplit("split", needed=("train", "val", "random" if self.random_log else "test")),
            user="user_id",
            item="video_id",
            group="user_id",
            ids=("user_id", "video_id", "time_ms"),
        )

    def options(self) -> Mapping[str, Any]:
        """What `read` depends on beyond the recipe."""
        names = ("version", "val_from", "test_from", "random_log", "past")
        return {name: getattr(self, name) for name in names}

    def files(self) -> tuple[Path, ...]:
        """Logs, user table and video table; downloads the archive where there is no log.

        Raises:
            DatasetNotFoundError: No standard log, or a table or the random log missing beside it.
        """
        name, md5 = ARCHIVES[self.version]
        archive = self.root / f"{name}.tar.gz"
        obtain(self._archive_url, archive, there=lambda: self._folder, md5=md5, allowed=self.download)
        if self._folder is None:
            raise DatasetNotFoundError(
                f"KuaiRand: no log_standard_*_{self.version}.csv(.gz) in {[str(f) for f in self._folders]}. Unpack "
                f"{self._archive_url} in {self.root}, give its folder as root=, or allow download=True and writing."
            )
        logs = self._logs(self._folder)
        if self.random_log:
            logs += self._required("log_random_4_22_to_5_08")
        return (*logs, *self._required("user_features"), *self._required("video_features_basic"))

    def read(self) -> Iterator[pl.DataFrame]:
        """Log rows with user and video features, in file order; of the random log those from `test_from` on."""
        *logs, user_file, video_file = self.files()
        users = SideTable.read(user_file, "user_id", USER, tally=self.tally)
        videos = SideTable.read(video_file, "video_id", VIDEO, tally=self.tally)
        past = Past(self._clicks(logs)) if self.past else None
        columns = ("user_id", "video_id", "date", "hourmin", "time_ms", "tab", *self.tasks)
        shown = pl.col("date")
        split = pl.when(shown < self.val_from).then(pl.lit("train")).when(shown < self.test_from).then(pl.lit("val"))
        for path in logs:
            last = "random" if path.name.startswith("log_random") else "test"
            for rows in read_csv(path, columns={name: LOG[name] for name in columns}):
                if last == "random":
                    rows = self.tally.keep(rows, shown >= self.test_from, "of the random log before test_from")
                rows = rows.with_columns(
                    split.otherwise(pl.lit(last)).alias("split"), (pl.col("hourmin") // 100).alias("hour")
                )
                rows = rows.hstack(users.of(rows["user_id"])).hstack(videos.of(rows["video_id"]))
                yield rows.hstack(past.of(rows)) if past else rows

    def _clicks(self, logs: Sequence[Path]) -> Iterator[pl.DataFrame]:
        """What `Past` counts: the standard logs, which every split and the random log have in common."""
        for path in logs:
            if not path.name.startswith("log_random"):
                yield from read_csv(path, columns={name: LOG[name] for name in ("user_id", "time_ms", "is_click")})

    @property
    def tested(self) -> str:
        """The test split, or with `random_log` the random one."""
        return "random" if self.random_log else "test"

    # ---- where the files are

    @property
    def _folders(self) -> list[Path]:
        return [self.root / ARCHIVES[self.version][0] / "data", self.root / "data", self.root]

    @property
    def _folder(self) -> Path | None:
        return next((folder for folder in self._folders if self._logs(folder)), None)

    def _logs(self, folder: Path) -> tuple[Path, ...]:
        """The standard logs in a folder, whole or in parts."""
        logs: tuple[Path, ...] = ()
        for stem in ("log_standard_4_08_to_4_21", "log_standard_4_22_to_5_08"):
            whole, *parts = (f"{stem}_{self.version}{part}.csv" for part in ("", "_part1", "_part2"))
            found, halves = present(folder, [whole]), present(folder, parts)
            if len(halves) == 1 or (found and halves):
                raise DatasetNotFoundError(
                    f"KuaiRand: {[path.name for path in (*found, *halves)]} in {folder}; allowed are {whole} or "
                    f"both of {parts}. Put the missing part there, or take away what is there twice."
                )
            logs += found + halves
        return logs

    def _required(self, stem: str) -> tuple[Path, ...]:
        assert self._folder is not None
        name = f"{stem}_{self.version}.csv"
        if found := present(self._folder, [name]):
            return found
        raise DatasetNotFoundError(
            f"KuaiRand: {name}(.gz) is not in {self._folder}, beside the logs. It is part of {self._archive_url}."
        )

    @property
    def _archive_url(self) -> str:
        return f"{self.url}/files/{ARCHIVES[self.version][0]}.tar.gz"


def is_day(number: int) -> bool:
    """Whether the number is a day, written as yyyymmdd."""
    try:
        return bool(datetime.strptime(str(number), "%Y%m%d"))
    except ValueError:
        return False
