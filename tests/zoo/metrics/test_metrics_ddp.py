"""Two ranks with unequal shards, one of them empty at times, give the metrics of one process."""

import json
from pathlib import Path

import pytest
from ranks import run_on_ranks

SCRIPT = Path(__file__).with_name("metrics_on_ranks.py")


@pytest.mark.slow
def test_two_ranks_equal_one(tmp_path: Path) -> None:
    run_on_ranks(SCRIPT, 2, str(tmp_path))
    for rank in range(2):
        results: dict[str, list[dict[str, float]]] = json.loads((tmp_path / f"{rank}.json").read_text())
        assert len(results) == 30
        for case, (half, whole, half_on_two, whole_on_two) in results.items():
            tolerance = 1 / 200 if "small capacity" in case else 1e-9
            assert all(value == value for value in whole.values()), case  # nothing is undefined by accident
            assert half_on_two == pytest.approx(half, abs=tolerance), case
            assert whole_on_two == pytest.approx(whole, abs=tolerance), case
