"""Other people's modules with surgery on two processes: the same everywhere, and as one process on the whole batch."""

from functools import partial
from pathlib import Path

import pytest
import torch
from ranks import run_on_ranks, saved_by_ranks

SCRIPT = Path(__file__).parents[1] / "foreign_ddp_script.py"
NAMED = "{}: {}".format


def run(folder: Path, world_size: int) -> list[dict[str, dict[str, torch.Tensor]]]:
    """What every rank ends with."""
    folder.mkdir()
    run_on_ranks(SCRIPT, world_size, str(folder))
    return saved_by_ranks(folder, world_size)


@pytest.mark.slow
def test_processes_have_the_same_and_what_one_has(tmp_path: Path) -> None:
    first, second = run(tmp_path / "two", 2)
    (alone,) = run(tmp_path / "one", 1)
    for case, ends in first.items():
        for name, value in ends.items():
            # The last step's own statistics are sent with the next forward pass, or the validation after the epoch.
            torch.testing.assert_close(second[case][name], value, rtol=0, atol=0, msg=partial(NAMED, f"{case} {name}"))
            if case in ("a loss alone", "two vectors"):
                torch.testing.assert_close(
                    alone[case][name], value, rtol=1e-9, atol=1e-11, msg=partial(NAMED, f"{case} {name}, one process")
                )
