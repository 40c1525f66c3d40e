"""A table of what a step of one of several processes sends, and where its host waits for a GPU: see test_waits.py."""

from pathlib import Path

import pytest
import torch
from ranks import run_on_ranks, saved_by_ranks

SCRIPT = Path(__file__).with_name("processes_script.py")
OBSERVED = {"callbacks/collectives.py:mean: allreduce": 1}
"""How many rows observe each task."""
FACTS = {
    "callbacks/collectives.py:largest: allreduce": 1,
    "callbacks/collectives.py:largest: a number goes to the host": 1,
}
"""Who has what of which parameter, and how many rows of it."""
ROWS = {"callbacks/collectives.py:_gathered: allgather": 2}
"""The rows' numbers of all tables, and their values."""
TOUCHED = {"callbacks/surgery/merging.py:settle: a number goes to the host": 1}
"""How many rows of each table all processes touch."""
DENSE = {"callbacks/surgery/global_gradients.py:_average_dense: allreduce": 1}
OWN = {"callbacks/surgery/lookups.py:settle: a number goes to the host": 1}
"""How many rows this process touches."""
ASKED = {"callbacks/collectives.py:mean: allreduce": 2, "callbacks/collectives.py:agree: broadcast": 1}
"""The same as `OBSERVED`, the losses that rules see, and the weights that the first process's rule gave."""
SCALER = {"lightning amp.py:optimizer_step: a number goes to the host": 1}

SURGERY = OWN | FACTS | ROWS | TOUCHED | DENSE | ASKED
GRADS = FACTS | ROWS | dict.fromkeys(TOUCHED, 2) | DENSE
COUNTS = {
    "sparse": OBSERVED | FACTS | ROWS,
    "surgery": SURGERY,
    "surgery sparse": SURGERY,
    "at the representation, sparse": ASKED | GRADS | {"callbacks/surgery/taps.py:tapped_gramian: allreduce": 1},
    "weights used again, sparse": OBSERVED | GRADS,
    "surgery scaled": SURGERY | SCALER | {"callbacks/surgery/task_gradients.py:finite: a number goes to the host": 1},
    "balancing scaled": ASKED | SCALER | {"callbacks/balancing.py:_skipped: a number goes to the host": 1},
    "surgery of a joint loss": FACTS
    | DENSE
    | ASKED
    | OBSERVED  # a module that is not of the zoo counts no rows
    | {"callbacks/surgery/passes.py:evident: a number goes to the host": 1},
}


@pytest.mark.slow
@pytest.mark.parametrize("world_size", [2, 3])
def test_messages_and_waits_of_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world_size: int) -> None:
    monkeypatch.setenv("MTLZOO_TEST_DEVICE", "pretended")
    run_on_ranks(SCRIPT, world_size, str(tmp_path))
    ranks = saved_by_ranks(tmp_path, world_size)
    for rank in ranks:
        assert {case: counts for case, (counts, _) in rank.items()} == COUNTS
        for case, (_, weights) in rank.items():
            for name, weight in weights.items():
                assert torch.equal(weight, ranks[0][case][1][name]), f"{case}: {name}"
