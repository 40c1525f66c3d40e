"""`EmbeddingMonitor`: how long the rows of embedding tables are, and how many directions they use."""

from collections.abc import Sequence
from typing import Any

import lightning as L

from mtlzoo.callbacks.described import described
from mtlzoo.callbacks.embeddings.shape import TableShape, shape_of
from mtlzoo.callbacks.embeddings.tables import TableRows, rows_of_table, tables_of
from mtlzoo.callbacks.float64 import check_float64
from mtlzoo.callbacks.heat_map import Panel, heat_maps
from mtlzoo.callbacks.lightning_seams import log, logged_step
from mtlzoo.callbacks.run_table import RunTable

COLUMNS = ["step", "table", *TableShape._fields]
MOST_TABLES, MOST_TIMES = 40, 12
"""Of a picture."""


class EmbeddingMonitor(L.Callback):
    """Logs the shape of every embedding table, at the start of a training and after every epoch, of any module.

    * ``embeddings/<table>/norm``: mean length of the rows;
    * ``embeddings/<table>/effective_rank``: how many directions they use, from 1 to the width: the exponential of the
      entropy of the normalised singular values (Roy and Vetterli, EUSIPCO 2007; RankMe, ICML 2023);
    * ``embeddings/<table>/collapse``: the share of all squared lengths that lies in one direction; 1 where all rows lie
      on a line.

    Of a table with more than 65,536 rows so many are looked at, evenly spread; the padding row is left out. They come
    from the rows' Gramian, so that an epoch costs a product [d, n] x [n, d] per table. A table that two modules share
    is one. Tables are the module's `nn.Embedding` and `nn.EmbeddingBag`, by their names. A part of it that keeps
    several in one weight says so by a mapping ``embedding_tables`` from names to tuples (parameter, first row, row
    after the last, padding row); models of mtlzoo do, and their tables are called by feature, ``user_id``, and where
    tasks have tables of their own ``click.user_id``.

    The numbers also go to ``embeddings.csv`` in the trainer's `log_dir` (columns `COLUMNS`; a resumed run goes on with
    its file), and at the end to a picture, ``embeddings.png`` there. A logger that takes images and tables (W&B) gets
    those instead, as ``embeddings/shapes`` and ``embeddings/table``. Every process holds whole tables, on one device or
    under DDP; the first writes.

    Raises:
        ValueError: The module has no embedding table.
    """

    __repr__ = described

    def __init__(self) -> None:
        self._tables: dict[str, TableRows] = {}
        self._table = RunTable("embeddings", COLUMNS, ("table",))
        self._last = -1

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Finds the tables."""
        if stage == "fit":
            check_float64("EmbeddingMonitor", trainer)
            self._tables = tables_of(pl_module)
            if not self._tables:
                raise ValueError(
                    f"EmbeddingMonitor: {type(pl_module).__name__} has no nn.Embedding or nn.EmbeddingBag, and no part "
                    "with `embedding_tables` that says what else is a table. Take the monitor out."
                )

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Opens the table; of a resumed run, the rows up to its checkpoint."""
        if trainer.global_step:
            self._table.open(trainer, self._last)
            return
        self._table.open(trainer, -1)
        self._last = self._look(trainer, pl_module, 0)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Looks at the tables after the last batch of an epoch, before its validation and all checkpoints."""
        if trainer.is_last_batch:
            self._last = self._look(trainer, pl_module, logged_step(trainer))

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draws the training, and hands the table to loggers that take it."""
        step = logged_step(trainer) - 1
        if self._last < step:
            self._look(trainer, pl_module, step)  # of an epoch that was cut short; a training that goes on forgets it
        if trainer.is_global_zero and self._table.lines:
            self._table.show(trainer, draw(self._table.lines), "embeddings", "embeddings/shapes")
        self._table.hand_on(trainer, "embeddings/table")

    def state_dict(self) -> dict[str, Any]:
        """The last step in the table."""
        return {"last": self._last}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues from `state_dict`."""
        self._last = state_dict["last"]

    def _look(self, trainer: L.Trainer, module: L.LightningModule, step: int) -> int:
        shapes = {name: shape_of(rows_of_table(module, table)) for name, table in self._tables.items()}
        values = {
            f"embeddings/{name}/{measure}": value
            for name, shape in shapes.items()
            for measure, value in shape._asdict().items()
            if value == value
        }
        log(trainer, values, step)
        self._table.add(trainer, [[step, name, *shape] for name, shape in shapes.items()])
        return step


def draw(lines: Sequence[Sequence[Any]]) -> Any:
    """A picture of effective rank and collapse, a row per table and a column per step; the most collapsed come first.

    Args:
        lines: Rows of the table.
    """
    steps = list(dict.fromkeys(line[0] for line in lines))
    kept = [steps[i * (len(steps) - 1) // max(1, MOST_TIMES - 1)] for i in range(MOST_TIMES)] if steps else []
    times = list(dict.fromkeys(kept if len(steps) > MOST_TIMES else steps))
    by_place = {(line[1], line[0]): line for line in lines}
    tables = [line[1] for line in sorted((line for line in lines if line[0] == steps[-1]), key=_collapse, reverse=True)]
    more = f" ({MOST_TABLES} most collapsed of {len(tables)} tables)" if len(tables) > MOST_TABLES else ""
    panels = []
    for measure in ("effective_rank", "collapse"):
        place = COLUMNS.index(measure)
        values = [[by_place[table, step][place] for step in times] for table in tables[:MOST_TABLES]]
        high = 1.0 if measure == "collapse" else max((v for line in values for v in line if v == v), default=1.0)
        title = f"{measure.replace('_', ' ').capitalize()} by step{more}"
        panels.append(Panel(values, tables[:MOST_TABLES], [str(step) for step in times], title, 0.0, high))
    return heat_maps(panels, "Blues")


def _collapse(line: Sequence[Any]) -> float:
    value = float(line[COLUMNS.index("collapse")])
    return value if value == value else -1.0
