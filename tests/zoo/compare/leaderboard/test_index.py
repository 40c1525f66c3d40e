from pathlib import Path

import polars as pl
import pytest
from compare import made_up

from mtlzoo.compare.leaderboard import leaderboard
from mtlzoo.compare.leaderboard.index import write_cells


def test_a_line_per_cell_that_the_leaderboard_can_be_computed_from(tmp_path: Path) -> None:
    results = made_up.write_cells(tmp_path)
    write_cells(results, tmp_path)
    cells = pl.read_csv(tmp_path / "cells.csv", infer_schema_length=None)
    assert len(cells) == len(results)
    assert all((tmp_path / folder / "results.json").is_file() for folder in cells["folder"])
    rows = [row for row in leaderboard(results, "SingleTask", draws=20).rows if row["task"] != "mean"]
    assert len(rows) > 10
    for row in rows:
        same = cells.filter((pl.col("data") == row["data"]) & (pl.col("name") == row["name"]))
        assert row["value"] == pytest.approx(same[f"test/{row['task']}/{row['metric']}"].mean(), abs=1e-12)
        assert row["seeds"] == len(same)
