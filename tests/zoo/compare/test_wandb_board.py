"""The leaderboard run, as it arrives at a server."""

import json
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from wandb_server import Server

from mtlzoo.compare.wandb_board import log_leaderboard

ROWS: list[dict[str, Any]] = [
    {"name": "SingleTask", "task": "click", "value": 0.71, "low": 0.7, "high": 0.72, "p_holm": None, "best": False},
    {"name": "MMoE + PCGrad", "task": "click", "value": 0.73, "low": 0.72, "high": 0.74, "p_holm": 0.01, "best": True},
]


def test_a_second_comparison_goes_on_with_the_run(wandb_server: Server, tmp_path: Path) -> None:
    page, picture = tmp_path / "compare.html", tmp_path / "frontier.png"
    page.write_text("<!doctype html><title>compared</title>")
    matplotlib.image.imsave(picture, np.zeros((8, 8, 3)))
    first = log_leaderboard("p", "team", "demo", ROWS[:1], None, {})
    assert log_leaderboard("p", "team", "demo", ROWS, page, {"frontier": picture}) == first
    assert log_leaderboard("p", "team", "other", ROWS, None, {}) != first
    run = wandb_server.backend.runs["p", first]
    assert (run.said["jobType"], run.said["displayName"]) == ("leaderboard", "leaderboard demo")
    assert len(run.history) == 2
    stored = wandb_server.backend.stored
    table = json.loads(stored[f"/files/p/{first}/{run.summary['leaderboard']['path']}"])
    assert [dict(zip(table["columns"], row, strict=True)) for row in table["data"]] == ROWS
    assert stored[f"/files/p/{first}/{run.summary['page']['path']}"] == page.read_bytes()
    assert stored[f"/files/p/{first}/{run.summary['pictures/frontier']['path']}"] == picture.read_bytes()
    assert wandb_server.backend.content(f"page-{first}") == {"compare.html": page.read_bytes()}


def test_no_rows_are_no_leaderboard() -> None:
    with pytest.raises(ValueError, match="no cell is finished"):
        log_leaderboard("p", None, "demo", [], None, {})
