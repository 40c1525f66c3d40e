"""Two gloo processes that round in different ways end with the same weights, bit for bit."""

from pathlib import Path

import pytest
import torch
from ranks import run_on_ranks, saved_by_ranks

from mtlzoo.callbacks import rules

SCRIPT = Path(__file__).with_name("replicas_script.py")


@pytest.mark.slow
def test_replicas_stay_equal_where_processes_round_differently(tmp_path: Path) -> None:
    run_on_ranks(SCRIPT, 2, str(tmp_path))
    first, second = saved_by_ranks(tmp_path, 2)
    assert {*rules.__all__} - {"GramianRule", "GradientRule", "LossRule"} < set(first)
    drifted = [
        case for case, ends in first.items() if not all(torch.equal(end, second[case][n]) for n, end in ends.items())
    ]
    assert not drifted
