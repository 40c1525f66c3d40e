"""Two ranks with unequal shards, one of them empty at times, give the metrics of one process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("metrics_on_ranks.py")


@pytest.mark.slow
def test_two_ranks_equal_one(tmp_path: Path) -> None:
    outs = [tmp_path / f"{rank}.json" for rank in range(2)]
    ranks = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(rank), "2", str(tmp_path / "init"), str(out)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, out in enumerate(outs)
    ]
    try:
        errors = [rank.communicate(timeout=300)[1] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0, 0], errors
    for out in outs:
        results: dict[str, list[dict[str, float]]] = json.loads(out.read_text())
        assert len(results) == 30
        for case, (half, whole, half_on_two, whole_on_two) in results.items():
            tolerance = 1 / 200 if "small capacity" in case else 1e-9
            assert all(value == value for value in whole.values()), case  # nothing is undefined by accident
            assert half_on_two == pytest.approx(half, abs=tolerance), case
            assert whole_on_two == pytest.approx(whole, abs=tolerance), case
