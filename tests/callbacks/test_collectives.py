"""What gloo processes tell each other, and in how many messages."""

from pathlib import Path

import pytest
from ranks import run_on_ranks, saved_by_ranks

SCRIPT = Path(__file__).with_name("collectives_script.py")
MESSAGES = {
    # All lengths, then a message for each type of number that follows others of its type.
    "tensors": {"all_reduce": 1, "all_gather": 4},
    "large_tensors": {"all_reduce": 1, "all_gather": 5},
    # Who has how many rows of which tables, the rows' numbers, their values.
    "sparse_tables": {"all_reduce": 1, "all_gather": 2},
    # The same, and dense gradients.
    "tasks": {"all_reduce": 2, "all_gather": 2},
}


@pytest.mark.slow
@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_tell_each_other_all_in_few_messages(tmp_path: Path, world_size: int) -> None:
    run_on_ranks(SCRIPT, world_size, str(tmp_path))
    for counts in saved_by_ranks(tmp_path, world_size):
        assert counts == MESSAGES
