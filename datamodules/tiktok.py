"""TikTok (ByteDance's ICME 2019 Short Video Understanding Challenge): was a video watched to its end, was it liked."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import polars as pl

from mtlzoo.datamodules.base import MultiTaskDataModule
from mtlzoo.datamodules.columns import CategoricalColumn, Label, RandomSplit, Recipe
from mtlzoo.datamodules.download import obtain
from mtlzoo.datamodules.download.finding import there
from mtlzoo.datamodules.errors import DatasetNotFoundError
from mtlzoo.datamodules.reading import read_csv
from mtlzoo.datamodules.values.domains import flag, whole

NAMES = (  # noqa: SIM905  (easier to compare with the organisers' sheet)
    "uid,user_city,item_id,author_id,item_city,channel,finish,like,music_id,device_id,time,video_duration"
).split(",")
"""The 12 fields in the order of the files, which have no header."""
DOMAINS = {
    **dict.fromkeys(NAMES, whole(missing=True)),
    **dict.fromkeys(("finish", "like"), flag(missing=True)),
    "uid": whole(),
}
"""What the fields may hold; -1, which has been read as missing by then, in all but uid."""
TASKS = ("finish", "like")
FEATURES = ("uid", "item_id", "author_id", "item_city", "channel", "music_id", "device_id", "video_duration")
"""Those of the STEM repository on track 1, where user_city is empty."""
MD5 = {1: "d045c98ce3e4b81ac14b1e03ec3613b4", 2: "486ad50d1f5cfc4d3c941cf3a1ce7875"}
"""Of the organisers' archives."""


class TikTok(MultiTaskDataModule):
    """Videos that were shown, with two binary tasks: `finish` (watched to the end) and `like`.

    * Features: uid, item_id, author_id, item_city, channel, music_id, device_id and video_duration, all categorical,
      as in the STEM repository; on track 2 also user_city, which track 1 does not have. `time` is none: it is when the
      watching began on track 1 and when the video was published on track 2, in hidden units.
    * ``-1`` is missing: "unknown" in a feature, not observed in a label.
    * Reads ``final_track1_train.txt`` or ``final_track2_train.txt``, plain or ``.gz``, at `root`; where it is missing
      and ``final_track{1,2}_train.txt.tgz`` is at `root`, that is checked against the organisers' md5 and unpacked.
      There is no download: the organisers' links are dead. Their test files have no labels and are not read, nor are
      the titles, faces and video vectors of track 2.

    Licence: academic use only. Source: https://www.biendata.xyz/competition/icmechallenge2019. Citation: IEEE ICME 2019
    Grand Challenge, Short Video Understanding Challenge, ByteDance.

    Args:
        root: Folder of the files.
        track: 1 (276 million rows) or 2 (20 million).
        tasks: Labels to predict, in this order: finish, like.
        min_count: Values seen less often in train are "unknown"; the STEM repository's 10.
        split_seed: Seed of the split: 81 % of the rows are train, 9 % validation, 10 % test. The sizes are those of the
            STEM repository, not the very rows, which it draws with scikit-learn.
        base: `prepared`, `batch_size`, `eval_batch_size`, `shuffle_seed`: see `MultiTaskDataModule`.

    Raises:
        ValueError: An unknown track or task.
    """

    licence = "academic use only"
    citation = "IEEE ICME 2019 Grand Challenge, Short Video Understanding Challenge, ByteDance"
    url = "https://www.biendata.xyz/competition/icmechallenge2019"

    def __init__(
        self,
        root: str | PathLike[str] = "data/tiktok",
        *,
        track: Literal[1, 2] = 1,
        tasks: Sequence[str] = TASKS,
        min_count: int = 10,
        split_seed: int = 42,
        **base: Any,
    ) -> None:
        super().__init__(root, **base)
        if track not in MD5:
            raise ValueError(f"TikTok: track={track!r}; allowed are {list(MD5)}.")
        if not tasks or set(tasks) - set(TASKS):
            raise ValueError(f"TikTok: tasks={list(tasks)}; allowed are {list(TASKS)}.")
        self.track, self.tasks, self.min_count, self.split_seed = track, tuple(tasks), min_count, split_seed

    @cached_property
    def recipe(self) -> Recipe:
        """Categorical features, one binary label per task, a random split."""
        features = FEATURES if self.track == 1 else (FEATURES[0], "user_city", *FEATURES[1:])
        return Recipe(
            columns=tuple(CategoricalColumn(name, min_count=self.min_count) for name in features),
            labels=tuple(Label(task) for task in self.tasks),
            split=RandomSplit(val=0.09, test=0.1, seed=self.split_seed),
            user="uid",
            item="item_id",
            group="uid",
            ids=("uid", "item_id", "time"),
        )

    def options(self) -> Mapping[str, Any]:
        """What `read` depends on beyond the recipe."""
        return {"track": self.track}

    def files(self) -> tuple[Path, ...]:
        """The track's file; unpacks its archive where only that is there.

        Raises:
            DatasetNotFoundError: Neither of them.
            DataError: An archive that is not the organisers'.
        """
        name = f"final_track{self.track}_train.txt"
        archive = self.root / f"{name}.tgz"
        obtain(self.url, archive, there=lambda: self._file, md5=MD5[self.track], allowed=False)
        if self._file is None:
            raise DatasetNotFoundError(
                f"TikTok: no {name} (or .gz or .tgz) in {self.root}. The organisers' links are dead: get "
                f"{archive.name} (md5 {MD5[self.track]}) from someone who took part, for academic use, and put it at "
                f"{archive}, or give its folder as root=. The README of the STEM repository (LiangcaiSu/STEM) links a "
                "copy of track 1."
            )
        return (self._file,)

    def read(self) -> Iterator[pl.DataFrame]:
        """Rows of the file, in its order."""
        (path,) = self.files()
        yield from read_csv(path, columns=DOMAINS, header=NAMES, separator="\t", null_values=["-1"], quote=False)

    @property
    def _file(self) -> Path | None:
        plain = self.root / f"final_track{self.track}_train.txt"
        return next((path for path in (plain, plain.with_name(f"{plain.name}.gz")) if there(path)), None)
