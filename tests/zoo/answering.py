"""A run on a table with every kind of feature and of task, and what `mtlzoo predict` makes of new rows."""

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from mtlzoo.cli import main

DESCRIBED: dict[str, Any] = {
    "train": "clicks.parquet",
    "features": {
        "user_id": {"kind": "categorical", "min_count": 2},
        "item_id": {"kind": "categorical", "table": "items"},
        "city": {"kind": "categorical", "hash_buckets": 16},
        "price": {"kind": "numeric", "transform": "log1p"},
        "age": {"kind": "numeric", "buckets": 4},
        "tags": {"kind": "sequence", "max_length": 3},
        "past": {"kind": "sequence", "max_length": 4, "keep": "last", "table": "items", "pooling": "max"},
    },
    "labels": {
        "click": "binary",
        "rating": {"kind": "regression", "name": "stars"},
        "kind": {"kind": "multiclass"},
        "genres": {"kind": "multilabel", "classes": 3},
    },
    "split": {"kind": "time", "column": "day", "val": 8, "test": 9},
    "user": "user_id",
    "item": "item_id",
    "ids": ["request"],
    "weight": "importance",
}


def rows(number: int = 1000, seed: int = 0) -> pl.DataFrame:
    """Missing values in every feature, and with another seed ids that train does not know."""
    draw = np.random.default_rng(seed)
    click = draw.integers(0, 2, number)
    frame = pl.DataFrame(
        {
            "request": [f"r{i}" for i in range(number)],
            "user_id": [f"{u:04}" for u in draw.integers(0, 50 + 20 * seed, number)],
            "item_id": draw.integers(0, 30 + 20 * seed, number),
            "city": [f"c{c}" for c in draw.integers(0, 40, number)],
            "price": draw.lognormal(2, 1, number).round(2),
            "age": draw.integers(18, 80, number),
            "tags": [",".join(map(str, draw.integers(0, 20, draw.integers(0, 5)))) for _ in range(number)],
            "past": [draw.integers(0, 30, draw.integers(0, 6)).tolist() for _ in range(number)],
            "click": click,
            "rating": np.where(click == 1, draw.integers(1, 6, number), np.nan),
            "kind": [("bad", "fair", "good")[k] for k in draw.integers(0, 3, number)],
            "genres": [sorted(set(draw.integers(0, 3, 2).tolist())) for _ in range(number)],
            "day": np.arange(number) * 10 // number,
            "importance": draw.uniform(0.5, 2, number).round(3),
        }
    )
    # A training's users are also the groups of its metrics, which have no holes.
    features = [name for name in DESCRIBED["features"] if seed or name != "user_id"]
    holes = {name: pl.Series(draw.random(number) < 0.1) for name in features}
    return frame.with_columns(
        pl.when(hole).then(None).otherwise(pl.col(name)).alias(name) for name, hole in holes.items()
    )


@pytest.fixture(scope="session")
def answering(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Trained, tested and exported: `run`, `checkpoint`, `exported`; `new` rows and `predicted` of them. Read only."""
    root = tmp_path_factory.mktemp("answers")
    (root / "data").mkdir()
    rows().write_parquet(root / "data/clicks.parquet")
    (root / "data/schema.yaml").write_text(yaml.safe_dump(DESCRIBED, sort_keys=False))
    data = ["--data", "TabularDataModule", "--data.root", str(root / "data"), "--data.schema_file", "schema.yaml"]
    data += ["--data.prepared", str(root / "prepared"), "--data.batch_size", "96"]
    model = ["--model", "MMoE", "--model.embedding_dim", "4", "--model.experts", "2", "--model.lr", "0.01"]
    quick = ["--trainer.accelerator", "cpu", "--trainer.max_epochs", "2", "--trainer.default_root_dir", str(root / "r")]
    main(["fit", *data, *model, *quick])
    (run,) = (root / "r").glob("*/version_0")
    config = ["-c", str(run / "config.yaml"), "--ckpt_path", "best"]
    main(["test", *config])
    new = rows(500, seed=1).drop("click", "rating", "kind", "genres", "day", "importance")
    new.write_parquet(root / "new.parquet")
    main(["predict", *config, "--data.predict", str(root / "new.parquet")])
    main(["export", *config, "--out", str(root / "exported")])
    return SimpleNamespace(
        root=root,
        run=run,
        checkpoint=run / "checkpoints/best.ckpt",
        exported=root / "exported",
        new=new,
        predicted=pl.read_parquet(run / "predictions", glob=False),
        results=json.loads((run / "results.json").read_text()),
    )
