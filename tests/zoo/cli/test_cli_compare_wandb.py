"""A comparison at W&B: one run per cell, one with the leaderboard; nothing left for a sweep."""

import json
from pathlib import Path

import polars as pl
import pytest
from wandb_server import Server

from mtlzoo.cli import main

FILE = """
data: {name: Synthetic, overrides: {tasks: 2, rows: 2000, users: 50, items: 100, batch_size: 256}}
models: [SharedBottom]
seeds: [0]
common: {trainer.max_epochs: 1, trainer.accelerator: cpu, model.embedding_dim: 4}
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Read the `app_url` setting:DeprecationWarning")  # wandb 0.31 itself
def test_every_cell_is_a_run_and_the_leaderboard_another(
    wandb_server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_text(FILE)
    words = ["compare", "mine.yaml", "--out", "out", "--wandb", "zoo", "--entity", "team"]
    main([*words, "--sweep", "true"])
    (sweep,) = wandb_server.backend.sweeps.values()
    assert sorted(Path(options["cell"]) for options in sweep["left"]) == sorted(
        path.absolute() for path in Path("out/cells").iterdir()
    )
    assert f"wandb agent team/zoo/{sweep['name']}" in capsys.readouterr().out
    main(words)
    main(words)
    runs = list(wandb_server.backend.runs.values())
    (board,) = (run for run in runs if run.said["jobType"] == "leaderboard")
    cells = [run for run in runs if run is not board]
    assert sorted(run.options["model_name"] for run in cells) == ["SharedBottom", "SingleTask"]
    for run in cells:
        (path,) = Path("out/cells").glob(f"Synthetic-{run.options['model_name']}-*/*/version_0/results.json")
        metrics = json.loads(path.read_text())["metrics"]
        assert {name: run.summary[name] for name in metrics} == metrics
        assert (run.said["groupName"], run.said["jobType"], run.state) == ("mine", "fit", "finished")
    assert len(board.history) == 2
    table = json.loads(wandb_server.backend.stored[f"/files/zoo/{board.name}/{board.summary['leaderboard']['path']}"])
    written = pl.read_parquet("out/leaderboard.parquet")
    assert table["columns"] == written.columns
    column = table["columns"].index("value")
    assert [row[column] for row in table["data"]] == written["value"].to_list()
    with pytest.raises(ValueError, match="all cells are done"):
        main([*words, "--sweep", "true"])
