"""The command in two processes: the same scores, and every row once."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from ranks import run_on_ranks

from mtlzoo.cli import main

pytestmark = pytest.mark.slow


def command(folder: Path, processes: int, *words: str) -> None:
    """Runs the command; two processes train as a user starts them, by Lightning, and do the rest as a cluster does."""
    if processes == 1:
        main([*words, "--trainer.default_root_dir", str(folder / "runs")])
    elif words[0] != "fit":
        with contextlib.chdir(folder):
            run_on_ranks("mtlzoo", processes, *words)
    else:
        done = subprocess.run(
            [sys.executable, "-m", "mtlzoo", *words],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "MASTER_PORT": str(_free_port())},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-4000:]


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def test_two_processes_do_what_one_does(options: list[str], tmp_path: Path) -> None:
    """Half the batch per process is the same global batch; 303 test rows divide by neither 2 nor the batch size."""
    size, rows = options.index("--data.batch_size"), options.index("--data.rows")
    folders: dict[int, Path] = {}
    results: dict[int, Any] = {}
    for processes in (1, 2):
        words = [*options, "--trainer.devices", str(processes), "--trainer.max_epochs", "2"]
        words[size + 1] = str(256 // processes)
        words[rows + 1] = "3030"
        words += ["--trainer.strategy", "ddp"] if processes > 1 else []
        where = tmp_path / str(processes)
        where.mkdir()
        command(where, processes, "fit", *words)
        folders[processes] = where / "runs/Synthetic-MMoE-s0/version_0"
        assert [path.name for path in folders[processes].parent.iterdir()] == ["version_0"]
        command(where, processes, "test", *words, "--keep_rows", "303")
        command(where, processes, "predict", *words)
        results[processes] = json.loads((folders[processes] / "results.json").read_text())
    metrics = {processes: result["metrics"] for processes, result in results.items()}
    assert metrics[2] == pytest.approx(metrics[1], abs=2e-5)
    parts = sorted(path.name for path in (folders[2] / "predictions").iterdir())
    assert parts == ["part-00000.parquet", "part-00001.parquet"]
    one, two = (pl.read_parquet(folders[n] / "predictions").sort("row") for n in (1, 2))
    assert two["row"].to_list() == list(range(303))
    assert two.select("user_id", "video_id", "day").equals(one.select("user_id", "video_id", "day"))
    assert two["is_click"].to_list() == pytest.approx(one["is_click"].to_list(), abs=1e-4)
    assert len(list((folders[2] / "tested").iterdir())) == 2
    first, second = (pl.read_parquet(folders[n] / "tested").sort("row") for n in (1, 2))
    assert second["row"].to_list() == list(range(303))
    assert second.select("user", "label:is_click").equals(first.select("user", "label:is_click"), null_equal=True)
    assert second["is_click"].to_list() == pytest.approx(first["is_click"].to_list(), abs=1e-3)
    # Evaluated by one process instead of two, the same checkpoint has the same scores to rounding.
    words = [*options, "--trainer.devices", "1"]
    words[rows + 1] = "3030"
    main(["test", *words, "--ckpt_path", str(folders[2] / "checkpoints/best.ckpt")])
    alone = json.loads((folders[2] / "results.json").read_text())["metrics"]
    assert alone == pytest.approx(metrics[2], abs=1e-6)
