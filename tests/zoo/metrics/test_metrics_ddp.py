"""Two ranks with unequal shards, one of them empty at times, give the metrics of one process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("metrics_on_ranks.py")


@pytest.fixture(scope="module")
def on_two_ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, list[dict[str, float]]]]:
    folder = tmp_path_factory.mktemp("ranks")
    outs = [folder / f"{rank}.json" for rank in range(2)]
    ranks = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(rank), "2", str(folder / "init"), str(out)],
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
    return [json.loads(out.read_text()) for out in outs]


def test_two_ranks_equal_one(on_two_ranks: list[dict[str, list[dict[str, float]]]]) -> None:
    assert on_two_ranks[0].keys() == on_two_ranks[1].keys()
    for results in on_two_ranks:
        for case, (half, whole, distributed_half, distributed_whole) in results.items():
            tolerance = 1 / 200 if "small capacity" in case else 1e-9
            assert distributed_half == pytest.approx(half, abs=tolerance, nan_ok=True), case
            assert distributed_whole == pytest.approx(whole, abs=tolerance, nan_ok=True), case


def test_nothing_was_undefined_by_accident(on_two_ranks: list[dict[str, list[dict[str, float]]]]) -> None:
    for results in on_two_ranks:
        for case, of_case in results.items():
            assert all(value == value for values in of_case for value in values.values()), case
