"""What PMTRec costs on data of Epinions' size: time of an epoch and memory, as ratios to the plain sum of the losses.

    python benchmarks/pmtrec_epoch.py [--rows 922267] [--repeats 3] [--busy]

Generated: 22,167 users, 296,278 items with popularity as in real logs, `rows` interactions, 355,754 links of trust, 27
categories; three tasks (recommend, trust, category), matrix factorisation of 32 columns, batches of 2,048, Adam: dense,
or by touched row (`sparse`). Epochs of the ways are trained in turn, each by a `Trainer.fit` of its own; a ratio is of
their medians. Peaks are of processes of their own, above what each held before its epoch; the table takes 39 MiB.

Result: benchmarks/results/pmtrec_epoch.json.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path

import interleave
import lightning as L
import memory
import numpy as np
import polars as pl
from report import show, write

from mtlzoo import PMTRec
from mtlzoo.callbacks import GradientSurgery, PCGrad, PMTRecRule
from mtlzoo.datamodules import CategoricalColumn, GivenSplit, Label, RankingDataModule, Recipe
from mtlzoo.schema import Links

USERS, ITEMS, TRUST, CATEGORIES = 22_167, 296_278, 355_754, 27
WAYS: dict[str, Callable[[], list[L.Callback]]] = {
    "sum": list,
    "PMTRec": lambda: [GradientSurgery(PMTRecRule("recommend"), level="row")],
    "PCGrad": lambda: [GradientSurgery(PCGrad())],
}


class Generated(RankingDataModule):
    """Rows of Epinions' size."""

    def __init__(self, root: Path, rows: int) -> None:
        super().__init__(root, prepared=root, batch_size=2048)
        self.rows = rows

    @cached_property
    def recipe(self) -> Recipe:
        """Three tasks."""
        return Recipe(
            columns=(CategoricalColumn("user"), CategoricalColumn("item")),
            labels=(Label("recommend", kind="ranking"), Label("trust", kind="link"), Label("category", kind="link")),
            split=GivenSplit(),
            user="user",
            item="item",
            links=(Links("trust", "user"), Links("category", "item")),
        )

    def files(self) -> tuple[Path, ...]:
        """None."""
        return ()

    def options(self) -> dict[str, int]:
        """Number of rows."""
        return {"rows": self.rows}

    def read(self) -> Iterator[pl.DataFrame]:
        """All rows are of train but one each."""
        draw = np.random.default_rng(0)
        # Every user and item once, so that the table has its size; the rest by popularity.
        rest = self.rows - ITEMS
        item = np.r_[draw.permutation(ITEMS), (ITEMS * draw.random(rest) ** 3).astype(np.int64)]
        user = np.r_[np.arange(ITEMS) % USERS, (USERS * draw.random(rest) ** 2).astype(np.int64)]
        order = draw.permutation(self.rows)
        split = np.r_[["val", "test"], np.full(self.rows - 2, "train")]
        frame = pl.DataFrame({"user": user[order], "item": item[order], "split": split})
        yield frame.with_columns(recommend=pl.when(pl.Series(draw.random(self.rows) < 0.75)).then(1))

    def read_links(self, name: str) -> Iterator[pl.DataFrame]:
        """Trust by popularity, categories of unequal size."""
        draw = np.random.default_rng(1)
        if name == "trust":
            pairs = (USERS * draw.random((2, TRUST)) ** 2).astype(np.int64)
            yield pl.DataFrame({"source": pairs[0], "target": pairs[1]})
        else:
            yield pl.DataFrame(
                {"id": np.arange(ITEMS), "group": (CATEGORIES * draw.random(ITEMS) ** 2).astype(np.int64)}
            )


def epoch(data: Generated, way: str, sparse: bool) -> None:
    """Trains one epoch."""
    L.seed_everything(0, verbose=False)
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        limit_val_batches=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=WAYS[way](),
    )
    trainer.fit(PMTRec(data.schema, sparse=sparse, lr=5e-3), data)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=922_267)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    interleave.busy(options.busy)
    if options.one:
        folder, way, sparse = options.one
        data = Generated(Path(folder), options.rows)
        data.train_dataloader()
        before = memory.start()
        epoch(data, way, sparse == "sparse")
        print(json.dumps(memory.peak() - before))
        return
    with tempfile.TemporaryDirectory() as folder:
        data = Generated(Path(folder), options.rows)
        data.prepare_data()
        table = []
        for kind in ("dense", "sparse"):
            steps = {way: partial(epoch, data, way, kind == "sparse") for way in WAYS}
            seconds = interleave.in_turn(steps, seconds=0, least=options.repeats)
            for way, taken in seconds.items():
                command = [sys.executable, __file__, "--rows", str(options.rows), "--one", folder, way, kind]
                found = subprocess.run(command, check=True, capture_output=True, text=True)
                added = json.loads(found.stdout.splitlines()[-1])
                ratio = taken / seconds["sum"]
                row = {"table": kind, "way": way, "seconds": round(taken, 2), "by sum": round(ratio, 2)}
                table.append(row | {"added MiB": round(added)})
                write("pmtrec_epoch", vars(options), table)
        show("An epoch", table)


if __name__ == "__main__":
    main()
