"""`RunTable`: what a monitor writes beside a training, as a table, as pictures, and for loggers that take these."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L

from mtlzoo.callbacks.atomic import append, whole_file
from mtlzoo.callbacks.heat_map import pixels
from mtlzoo.callbacks.lightning_seams import logged_step

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class RunTable:
    """A CSV file in the trainer's `log_dir` that a resumed training goes on with; the first process alone writes.

    Args:
        name: Of the file, without ``.csv``.
        columns: Names of the columns; the first is the step, those of `texts` are texts, all others numbers.
        texts: Columns of texts.
    """

    def __init__(self, name: str, columns: Sequence[str], texts: Sequence[str]) -> None:
        self.name = name
        self.columns = list(columns)
        self.texts = frozenset(texts)
        self.lines: list[list[Any]] = []
        """All rows of the training, on the first process."""
        self._folder: Path

    def open(self, trainer: L.Trainer, last: int) -> None:
        """Begins the file, or goes on with its rows up to a step; all processes ask.

        Args:
            trainer: The trainer.
            last: Last step of the table as a checkpoint knows it; -1 for a new one.
        """
        folder = Path(trainer.log_dir or trainer.default_root_dir)  # all processes must ask
        if not trainer.is_global_zero:
            return
        first: Any = trainer.loggers[0] if trainer.loggers else None
        # By name: `lightning` and `pytorch_lightning` have one each.
        if any(kind.__name__ == "WandbLogger" for kind in type(first).__mro__):
            folder = folder / str(first.name) / first.experiment.id  # all its runs have one `log_dir`
        self._folder, self.lines = folder, []
        if self._path.is_file() and last >= 0:
            with self._path.open(newline="") as file:
                old = [row for row in csv.reader(file) if len(row) == len(self.columns) and row != self.columns]
            self.lines = [self._read(row) for row in old if int(row[0]) <= last]
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(self._path, "w", newline="") as file:
            csv.writer(file).writerows([self.columns, *self.lines])

    def add(self, trainer: L.Trainer, lines: Sequence[list[Any]]) -> None:
        """Appends rows."""
        if trainer.is_global_zero:
            self.lines += lines
            text = io.StringIO()
            csv.writer(text).writerows(lines)
            append(self._path, text.getvalue())

    def hand_on(self, trainer: L.Trainer, key: str) -> None:
        """Gives all rows to loggers that take tables."""
        for logger in trainer.loggers if trainer.is_global_zero else ():
            if hasattr(logger, "log_table"):
                logger.log_table(key, columns=self.columns, data=self.lines, step=logged_step(trainer))

    def show(self, trainer: L.Trainer, picture: "Figure", file: str, key: str) -> None:
        """Gives a picture to loggers that take them; where none does, it is a file beside the table.

        Args:
            trainer: The trainer; its first process alone asks.
            picture: The picture.
            file: Name of the file, without ``.png``.
            key: Name for loggers.
        """
        takers = [logger for logger in trainer.loggers if hasattr(logger, "log_image")]
        for logger in takers:
            logger.log_image(key, [pixels(picture)], step=logged_step(trainer))
        if not takers:
            with whole_file(self._folder / f"{file}.png") as drawn:
                picture.savefig(drawn, dpi=100)

    @property
    def _path(self) -> Path:
        return self._folder / f"{self.name}.csv"

    def _read(self, row: list[str]) -> list[Any]:
        named = zip(self.columns[1:], row[1:], strict=True)
        return [int(row[0]), *(value if column in self.texts else float(value) for column, value in named)]
