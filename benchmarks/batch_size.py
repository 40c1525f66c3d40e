"""How many batches an epoch of a small table needs: the search behind the size of a batch that nobody chose.

    python benchmarks/batch_size.py [--root data] [--rows 10000 40000] [--model SharedBottom] [--data KuaiRand ...]

Of each data set rows are drawn at random: so many for train, 20,000 others for validation. Each sample is a table of
one's own, trained by ``mtlzoo fit`` (20 epochs at most, patience 2, decay and averages of the preset of unknown tables,
seed 0) with batches of the largest power of two that gives an epoch 64 batches or more, and of a half, a quarter and an
eighth of that. What counts is the best mean AUC on validation, and the seconds of the training.

Expected before it was measured: 64 are enough but for the smallest tables. They are not: a quarter of that batch gains
up to .1 of 10,000 rows and .06 of 40,000, in 1.5 to 1.9 times the time; an eighth gains less for 1.6 times that.
Result: benchmarks/results/batch_size.json, made before the preset let small tables train for more than 20 epochs.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from report import show, write

from mtlzoo.datamodules import CensusIncome, KuaiRand, MovieLens, MultiTaskDataModule, Synthetic

HELD_OUT, STEPS = 20_000, (64, 128, 256, 512)
KINDS = {"CategoricalColumn": "categorical", "NumericColumn": "numeric", "SequenceColumn": "sequence"}
DATA: dict[str, Callable[[Path], MultiTaskDataModule]] = {
    "KuaiRand": lambda root: KuaiRand(root / "kuairand"),
    "CensusIncome": lambda root: CensusIncome(root / "census-income"),
    "MovieLens-100k": lambda root: MovieLens(root / "ml-100k", version="100k"),
    "MovieLens-1M": lambda root: MovieLens(root / "movielens", version="1m"),
    "Synthetic": lambda root: Synthetic(),
}


def described(part: Any, kind: str) -> dict[str, Any]:
    """A column or a label as a schema file has it."""
    options = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(part).items()}
    return {name: value for name, value in options.items() if name not in ("name", "column")} | {"kind": kind}


def sample(data: MultiTaskDataModule, rows: int, folder: Path) -> None:
    """Writes rows of a data set as a table of one's own, with its schema file."""
    recipe = data.recipe
    features = {column.name: described(column, KINDS[type(column).__name__]) for column in recipe.columns}
    labels = {label.name or label.column: described(label, label.kind) for label in recipe.labels}
    table = pl.concat(list(data.read()), how="vertical_relaxed").sample(HELD_OUT + rows, shuffle=True, seed=0)
    table = table.rename({label.column: label.name for label in recipe.labels if label.name})
    table = table.select(*features, *labels)
    table[:HELD_OUT].write_parquet(folder / "val.parquet")
    table[HELD_OUT:].write_parquet(folder / "train.parquet")
    schema = {"train": "train.parquet", "val": "val.parquet", "features": features, "labels": labels}
    (folder / "schema.yaml").write_text(yaml.safe_dump({**schema, "test": "val.parquet"}))


def trained(model: str, size: int, folder: Path) -> dict[str, Any]:
    """What ``mtlzoo fit`` says of a training with batches of that many rows."""
    runs = folder / f"runs-{size}"
    options = {
        "model": model,
        "data": "TabularDataModule",
        "data.root": folder,
        "data.schema_file": "schema.yaml",
        "data.prepared": folder / "cache",
        "data.batch_size": size,
        "data.eval_batch_size": 8192,
        "trainer.accelerator": "cpu",
        "trainer.max_epochs": 20,
        "trainer.default_root_dir": runs,
    }
    command = [sys.executable, "-m", "mtlzoo", "fit", *(f"--{name}={value}" for name, value in options.items())]
    subprocess.run(command, check=True, capture_output=True)
    (record,) = runs.glob("*/version_0/fit.json")
    fitted: dict[str, Any] = json.loads(record.read_text())
    return fitted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("data"), help="folder of the data sets' folders")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 40_000])
    parser.add_argument("--model", default="SharedBottom")
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    options = parser.parse_args()
    results = []
    for rows in options.rows:
        for name in options.data:
            with tempfile.TemporaryDirectory() as folder:
                sample(DATA[name](options.root), rows, Path(folder))
                for steps in STEPS:
                    size = 2 ** ((rows // steps).bit_length() - 1)
                    fitted = trained(options.model, size, Path(folder))
                    result = {"data": name, "rows": rows, "steps": steps, "batch_size": size}
                    result |= {what: round(fitted[what], 4) for what in ("best", "epochs", "seconds")}
                    results.append(result)
                    print(result, flush=True)
    show(f"{options.model}: {fitted['monitor']}", results)
    write("batch_size", {"model": options.model, "rows": options.rows, "monitor": fitted["monitor"]}, results)


if __name__ == "__main__":
    main()
