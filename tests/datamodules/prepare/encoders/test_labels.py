"""Labels of every kind in one table: what is learned, where nothing is observed, rates and scales of train."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fixtures.prepared import SPLIT, prepared
from mtlzoo.datamodules.columns import CategoricalColumn, Label, Recipe


@pytest.mark.filterwarnings("ignore:Test. 100% of the ids of 'x' in test:mtlzoo.datamodules.errors.DataWarning")
@pytest.mark.filterwarnings("ignore:Test. the label .* in every row of:mtlzoo.datamodules.errors.DataWarning")
def test_labels_of_every_kind(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "x": [1, 2, 3, 4],
            "click": [True, True, False, None],
            "buy": [1, None, 0, 1],
            "seconds": [1.0, 3.0, None, 8.0],
            "stars": [0, 2, None, 1],
            "topics": ["0;2.0", "[]", None, "1"],
            "split": ["train", "train", "train", "test"],
        }
    )
    labels = (
        Label("click", weight=2.0),
        Label("buy", name="conversion", observed="click"),
        Label("seconds", kind="regression"),
        Label("seconds", name="raw", kind="regression", standardize=False),
        Label("stars", kind="multiclass", classes=3),
        Label("topics", kind="multilabel", classes=3, separator=";"),
    )
    data = prepared(Recipe((CategoricalColumn("x"),), labels, SPLIT), frame, tmp_path / "x")
    nan = float("nan")
    expected = [
        [1, 1, 1, 1, 0, 1, 0, 1],
        [1, nan, 3, 3, 2, 0, 0, 0],
        [0, nan, nan, nan, nan, nan, nan, nan],
    ]
    np.testing.assert_array_equal(data["train"]["labels"].numpy(), np.asarray(expected, np.float32))
    np.testing.assert_array_equal(
        data["test"]["labels"].numpy(), np.asarray([[nan, nan, 8, 8, 1, 0, 1, 0]], np.float32)
    )
    tasks = {task.name: task for task in data.schema.tasks}
    assert (tasks["seconds"].center, tasks["seconds"].scale) == (2.0, 1.0)  # of 1 and 3: train only
    assert (tasks["raw"].center, tasks["raw"].scale) == (0.0, 1.0)
    assert tasks["click"].weight == 2.0
    assert tasks["conversion"].observed == "click"
    assert data.manifest["label_rates"]["train"] == {
        "click": 0.666667,
        "conversion": 1.0,
        "seconds": 2.0,
        "raw": 2.0,
        "stars": [0.5, 0.0, 0.5],
        "topics": [0.5, 0.0, 0.5],
    }
    assert data.manifest["label_rates"]["test"]["click"] is None
