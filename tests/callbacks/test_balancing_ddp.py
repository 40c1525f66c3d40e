"""Two gloo processes with loss balancing and monitors equal one process on the same global batches."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import run_on_ranks, saved_by_ranks

from mtlzoo.callbacks import LossRule, rules

SCRIPT = Path(__file__).with_name("balancing_script.py")
OPTIONS: dict[str, dict[str, Any]] = {
    "FixedWeights": {"weights": [1.0, 3.0, 0.5]},
    "STCH": {"warmup_epochs": 1},
    "UW": {"lr": 0.1},
    "IMTLL": {"lr": 0.1},
}
RULES = {
    name: OPTIONS.get(name, {})
    for name in rules.__all__
    if issubclass(rule := getattr(rules, name), LossRule) and rule is not LossRule
}


def run(folder: Path, world_size: int) -> list[dict[str, Any]]:
    """What every rank saved."""
    folder.mkdir()
    run_on_ranks(SCRIPT, world_size, str(folder), json.dumps(RULES))
    return saved_by_ranks(folder, world_size)


@pytest.mark.slow
def test_two_ranks_equal_one(tmp_path: Path) -> None:
    (one,) = run(tmp_path / "one", 1)
    ranks = run(tmp_path / "two", 2)
    for rank in ranks:
        for case in (f"{name} {kind}" for name in RULES for kind in ("zoo", "foreign")):
            for name, weight in one[case].items():
                message = partial("{}, {}: {}".format, case, name)
                torch.testing.assert_close(rank[case][name], weight, rtol=1e-8, atol=1e-10, msg=message)
    steps = [step for step, _ in one["log"]]
    assert steps == [1, 3, 5, 7]
    assert [step for step, _ in ranks[0]["log"]] == steps
    for (_, got), (_, wanted) in zip(ranks[0]["log"], one["log"], strict=True):
        assert got == pytest.approx(wanted, rel=1e-8)
    assert not ranks[1]["log"]
    assert not ranks[1]["cost"]
    assert len(ranks[0]["cost"]) == 3
    for _, cost in ranks[0]["cost"]:
        assert set(cost) == {
            f"cost/{n}" for n in ("rows_per_second", "step_seconds", "backward_share", "peak_memory_mib")
        }
        assert 0 < cost["cost/backward_share"] < 1
        # All rows of both processes, in steps that wait for each other.
        assert cost["cost/rows_per_second"] < 1.01 * 12 / cost["cost/step_seconds"]
    written = {path.relative_to(tmp_path / "two").as_posix() for path in (tmp_path / "two").glob("rank*/*")}
    assert written == {
        f"rank0/{n}" for n in ("conflicts.csv", "conflicts.png", "conflicts-epoch0.png", "conflicts-epoch1.png")
    }
