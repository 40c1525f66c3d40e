"""Made-up cells are what cells are: the rows say what results.json says, and who is better is as it was set."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from compare import made_up


def test_rows_come_to_the_metrics(tmp_path: Path) -> None:
    results = made_up.write_cells(tmp_path, data=("Clicks", "Films"), seeds=2)
    assert len(results) == 2 * 2 * len(made_up.CONTENDERS)
    for result in results:
        rows = result.rows
        assert rows is not None
        for task in made_up.TASKS:
            area = made_up.auc(rows[task].to_numpy(), rows[f"label:{task}"].to_numpy())
            assert area == pytest.approx(result.metrics[f"test/{task}/auc"])
        assert rows["user"].dtype == pl.Int64
        assert rows["label:click"].dtype == pl.Float32


def test_who_is_better_is_known(tmp_path: Path) -> None:
    results = made_up.write_cells(tmp_path, rows=2000, users=100, monitors=False)
    means = {
        (contender.name, task): np.mean([r.metrics[f"test/{task}/auc"] for r in results if r.name == contender.name])
        for contender in made_up.CONTENDERS
        for task in made_up.TASKS
    }
    assert means["PLE", "click"] > means["MMoE", "click"] > means["SingleTask", "click"] + 0.01
    assert means["SharedBottom", "like"] < means["SingleTask", "like"] - 0.01
    assert means["MMoE", "follow"] == pytest.approx(means["SingleTask", "follow"], abs=0.02)


def test_a_thousand(tmp_path: Path) -> None:
    assert len({c.name for c in made_up.many(50)}) == 50
    assert len({c.name for c in made_up.frontier(made_up.TASKS, 9)}) == 9
