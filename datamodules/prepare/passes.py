"""The three passes of the preparation over the rows."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import polars as pl
import pyarrow as pa

from mtlzoo.datamodules.columns import ORIGIN, Recipe
from mtlzoo.datamodules.prepare.encoders.base import CategoricalEncoder, Encoder, NameEncoder, Places
from mtlzoo.datamodules.prepare.encoding import Encoding, save_encoding
from mtlzoo.datamodules.prepare.joined import Frame, Joined
from mtlzoo.datamodules.prepare.manifest import Rates
from mtlzoo.datamodules.prepare.plan import Plan
from mtlzoo.datamodules.prepare.remarks import Remarks
from mtlzoo.datamodules.prepare.shared import Column, SharedTables
from mtlzoo.datamodules.prepare.splitting import TRAIN, check_needed, splitter
from mtlzoo.datamodules.prepare.storage import Checksum, SplitFiles, Stage
from mtlzoo.datamodules.values.arrow import compact, from_arrow
from mtlzoo.datamodules.values.keys import KeyColumn

Advance = Callable[[int], object]
Columns: TypeAlias = dict[str, list[Column]]
"""Encoded columns [rows, width] by the file that they go to, side by side."""


class Passes:
    """Stages the raw rows, learns from train and writes the encoded columns.

    Args:
        recipe: What to prepare.
        work: An empty folder for what waits between the passes.
        pool: Threads; the columns of a chunk are independent.
        like: What a former training learned of the same columns; nothing is learned then.
    """

    def __init__(self, recipe: Recipe, work: Path, pool: ThreadPoolExecutor, like: Encoding | None = None) -> None:
        self.plan = Plan(recipe)
        self.like = like
        if like is not None:
            like.restore(self.plan)
        self.splitter = splitter(recipe.split, work / "split")
        self.staged = Stage(work / "rows")
        self.encoders = [encoder for encoders in self.plan.outputs.values() for encoder in encoders]
        self.shared = SharedTables(self.encoders, work / "shared", pool)
        self.table_of: list[int | None] = []
        """The number of the table that the rows of each chunk share; None of rows that have all by themselves."""
        keys = [encoder.keys if isinstance(encoder, CategoricalEncoder) else None for encoder in self.encoders]
        self.features = {key.name: (key, place) for place, key in enumerate(keys) if key}
        """Keys and places among the staged columns of the features that hold names as they are."""
        self.ids = [KeyColumn(name, names=False) for name in self._names("test") if name not in self.features]
        self.pool = pool
        self.checksums: dict[Path, Checksum] = {}
        """Of the columns that were written, by file."""

    def stage(self, frames: Iterable[Frame], advance: Advance) -> None:
        """Checks the raw rows and puts them aside.

        Raises:
            DataError: Rows that are not what the recipe says.
        """
        first = 1
        for frame in frames:
            rows = range(first, first + len(frame))
            self._stage(frame, rows)
            first = rows.stop
            advance(len(rows))
        self.splitter.finish()

    def learn(self, advance: Advance) -> dict[str, int]:
        """Fits tables and statistics on train, where they were not given.

        Returns:
            Rows of each split.

        Raises:
            DataError: No row in a split that is needed, or columns that nothing can be learned of.
        """
        for encoder in self.encoders:
            encoder.settle()
        counts = np.zeros(len(self.splitter.names), np.int64)
        for number, (columns, rows) in enumerate(self.staged.read()):
            codes = self.splitter.codes(rows)
            counts += [np.count_nonzero(codes == code) for code in range(len(counts))]
            self._observe(columns, np.flatnonzero(codes == TRAIN), self.table_of[number])
            advance(len(rows))
        self.shared.observe()
        rows_of = dict(zip(self.splitter.names, counts.tolist(), strict=True))
        if self.like is None or not self.plan.given:
            check_needed(self.plan.recipe.split, rows_of)
        for table in self.plan.tables.values():
            if not table.given:
                table.fit()
        for encoder in self.encoders:
            if not encoder.given:
                encoder.fit()
        return rows_of

    def encode(self, folder: Path, rows_of: dict[str, int], advance: Advance) -> Rates:
        """Writes the columns of every split that has rows, and what was learned."""
        rates = Rates(self.plan.schema())
        self.remarks = Remarks(rates.schema, learned=self.like is None)
        files = {split: SplitFiles(folder / split, rows) for split, rows in rows_of.items() if rows}

        with ExitStack() as stack, ThreadPoolExecutor(1) as background:
            for file in files.values():
                stack.callback(file.abandon)
            flushes = []
            for columns, staged, rows in self._encoded():
                for split in self._write(files, rates, columns, staged, rows):
                    # The disk works while we encode, so that the sync at the end has little to wait for.
                    flushes.append(background.submit(files[split].flush))
                advance(len(rows))
            for flush in flushes:
                flush.result()  # an error of the disk is told once, and would not be told again at the end
            for file in files.values():
                file.close()
                self.checksums |= {column.path: column.checksum for column in file.columns.values()}
        if self.plan.recipe.labelled:
            save_encoding(self.plan, folder)
        return rates

    def _write(
        self, files: dict[str, SplitFiles], rates: Rates, columns: Columns, staged: list[Column], rows: range
    ) -> Iterable[str]:
        """Appends a chunk to the files of its splits; returns those splits."""
        order, places = self._sorted(rows)
        waiting = iter(staged)
        raw = {name: [next(waiting) for _ in parts] for name, parts in self.plan.outputs.items()}

        def write(name: str, columns: list[Column]) -> None:
            # Rows of one split that have their values by themselves are in order as they are.
            sorted_columns = [
                values if at is None and len(places) == 1 else values.take(order if at is None else at[order], axis=0)
                for values, at in columns
            ]
            for split, place in places.items():
                part = [values[place] for values in sorted_columns]
                rates.add(split, name, part)
                self.remarks.add(split, name, part, raw[name], order[place])
                files[split].append(name, part, np.result_type(*(each.dtype for each in self.plan.outputs[name])))

        def write_ids() -> None:
            for split, place in places.items():
                if names := self._names(split):
                    files[split].append_ids(self._ids(names, staged, order[place]))

        writes = [self.pool.submit(write, name, parts) for name, parts in columns.items()]
        writes.append(self.pool.submit(write_ids))
        for one in writes:
            one.result()
        return places

    def _sorted(self, rows: range) -> tuple[Places, dict[str, slice]]:
        """The order of a chunk's rows by split, and where each split that has some lies in it."""
        codes = self.splitter.codes(rows)
        # A pass per split is several times faster than sorting: there are few.
        of = [np.flatnonzero(codes == code) for code in range(len(self.splitter.names))]
        ends = np.cumsum([len(rows) for rows in of]).tolist()
        bounds = zip(self.splitter.names, pairwise([0, *ends]), strict=True)
        return np.concatenate(of), {name: slice(start, end) for name, (start, end) in bounds if end > start}

    def _stage(self, frame: Frame, rows: range) -> None:
        """Stages a chunk: what its table holds once, and null in its place with the rows."""
        elsewhere = [self.shared.takes(encoder, frame) for encoder in self.encoders]
        plain = self._plain(frame) if isinstance(frame, Joined) else frame
        self.splitter.add(plain, rows)

        def stage(encoder: Encoder, elsewhere: bool) -> pa.Array:
            return pa.nulls(len(rows)) if elsewhere else encoder.stage(plain, rows)

        columns = [*self.pool.map(stage, self.encoders, elsewhere)]
        columns += [compact(column.check(plain[column.name], rows)) for column in self.ids]
        self.table_of.append(self.shared.add(frame) if isinstance(frame, Joined) else None)
        self.staged.write([*columns, pa.array(frame.places)] if isinstance(frame, Joined) else columns, rows)

    def _plain(self, frame: Joined) -> pl.DataFrame:
        """The rows with what of their table is needed beside it."""
        names = {encoder.keys.name for encoder in self.encoders if isinstance(encoder, NameEncoder)}
        left_out = names & {*frame.table.columns} - self.plan.other_columns
        return frame.plain([name for name in frame.columns if name not in left_out])

    def _observe(self, columns: list[pa.Array], train: Places, table: int | None) -> None:
        def observe(encoder: Encoder, staged: pa.Array) -> None:
            if not encoder.given and (table is None or not pa.types.is_null(staged.type)):
                encoder.observe(staged, train)

        if table is not None:
            self.shared.count(table, columns[-1].to_numpy().take(train))
        for _ in self.pool.map(observe, self.encoders, columns):
            pass

    def _encoded(self) -> Iterator[tuple[Columns, list[Column], range]]:
        """Encodes chunk by chunk, the next one already while the caller works on the last."""
        started: list[tuple[Iterator[Column], list[Column], range]] = []
        for number, (staged, rows) in enumerate(self.staged.read(last=True)):
            columns, tables = self._with_table(staged, self.table_of[number])

            def encode(encoder: Encoder, column: Column, table: Any) -> Column:
                return Column(encoder.encode(column.values) if table is None else table, column.at)

            started.append((self.pool.map(encode, self.encoders, columns, tables), columns, rows))
            if len(started) == 2:
                yield self._collected(*started.pop(0))
        for chunk in started:
            yield self._collected(*chunk)

    def _with_table(self, staged: list[pa.Array], number: int | None) -> tuple[list[Column], list[Any]]:
        """The staged columns, those of the table in their places, and what the encoded ones of the table are."""
        if number is None:
            return [Column(values) for values in staged], [None] * len(self.encoders)
        *staged, at = staged
        ours, encoded = self.shared.staged(number), self.shared.encoded(number)
        of_encoders = [
            Column(values) if table is None else Column(shared, at.to_numpy())
            for values, shared, table in zip(staged, ours, encoded, strict=False)
        ]
        return [*of_encoders, *map(Column, staged[len(ours) :])], encoded

    def _collected(
        self, encoded: Iterator[Column], staged: list[Column], rows: range
    ) -> tuple[Columns, list[Column], range]:
        return {name: [next(encoded) for _ in parts] for name, parts in self.plan.outputs.items()}, staged, rows

    def _names(self, split: str) -> list[str]:
        """Columns that name a row; of train, which is not predicted, only those that are asked for."""
        recipe = self.plan.recipe
        names = recipe.ids if split == "train" else (recipe.user, recipe.item, *recipe.ids, *recipe.origin)
        return list(dict.fromkeys(filter(None, names)))

    def _ids(self, names: list[str], staged: list[Column], rows: Places) -> pl.DataFrame:
        """Those columns, of some rows of a chunk."""
        places = self.features | {key.name: (key, n) for n, key in enumerate(self.ids, len(self.encoders))}
        columns = {}
        for name in names:
            key, place = places[name]
            taken = staged[place].values.take(pa.array(staged[place].places(rows)))
            plain = taken.dictionary_decode() if isinstance(taken, pa.DictionaryArray) else taken
            columns[ORIGIN.get(name, name)] = from_arrow(plain).cast(key.dtype or pl.String())
        return pl.DataFrame(columns)
