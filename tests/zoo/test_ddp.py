"""N gloo processes equal one process on the same global batches: weights, metrics and predictions."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

CASES: dict[str, dict[str, Any]] = {
    "mmoe": {"model": "MMoE", "arguments": {"experts": 3, "expert_units": [8], "tower_units": [4], "clip_norm": 0.1}},
    "ple_sparse_accumulate": {
        "model": "PLE",
        "arguments": {
            "levels": 2,
            "expert_units": [8],
            "tower_units": [],
            "sparse": True,
            "accumulate": 3,
            "clip_norm": 0.1,
            "table_weight_decay": 0.01,
        },
    },
    "shared_bottom_accumulate_cosine": {
        "model": "SharedBottom",
        "arguments": {
            "bottom_units": [8],
            "tower_units": [4],
            "accumulate": 2,
            "schedule": "cosine",
            "warmup_steps": 3,
            "averaging": 0.9,
        },
    },
    "stem_net_sparse": {
        "model": "STEMNet",
        "arguments": {
            "layers": 2,
            "shared_experts": 2,
            "expert_units": [8],
            "tower_units": [4],
            "sparse": True,
            "clip_norm": 0.1,
        },
    },
    "soft_sharing_accumulate": {
        "model": "SoftSharing",
        "arguments": {"bottom_units": [8], "tower_units": [4], "distance": 0.1, "accumulate": 2},
    },
    # 2 * 32 + 1 rows: the last batch leaves one of the ranks without a row.
    "single_task_sparse_empty_rank": {
        "model": "SingleTask",
        "rows": 65,
        "arguments": {"units": [8], "sparse": True, "optimizer": "adagrad", "schedule": "plateau"},
    },
    # One of the ranks has nothing to train, validate, test and predict.
    "shared_bottom_one_row": {
        "model": "SharedBottom",
        "rows": 1,
        "held_out": 1,
        "arguments": {"bottom_units": [8], "tower_units": [4], "accumulate": 3},
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_ranks_equal_one(tmp_path: Path, run: Any, case: str) -> None:
    options = CASES[case]
    (one,) = run(tmp_path / "one", 1, options | {"batch_size": 32})
    ranks = run(tmp_path / "two", 2, options | {"batch_size": 16})
    for rank in ranks:
        assert rank["steps"] == one["steps"]
        assert set(rank["weights"]) == set(one["weights"])
        for name, weight in one["weights"].items():
            torch.testing.assert_close(
                rank["weights"][name], weight, rtol=1e-9, atol=1e-11, msg=partial("{}: {}".format, name)
            )
        for stage, metrics in one["metrics"].items():
            assert set(rank["metrics"][stage]) == set(metrics)
            for name, value in metrics.items():
                torch.testing.assert_close(
                    rank["metrics"][stage][name].double(),
                    value.double(),
                    rtol=0,
                    atol=1e-6,
                    equal_nan=True,
                    msg=partial("{}: {}".format, name),
                )
    rows = torch.cat([batch["row"] for rank in ranks for batch in rank["predictions"]])
    assert sorted(rows.tolist()) == list(range(options.get("held_out", options.get("rows", 203)))), (
        "no row twice, none missing"
    )
    probability = torch.cat([batch["click"] for rank in ranks for batch in rank["predictions"]])[rows.argsort()]
    torch.testing.assert_close(
        probability, torch.cat([batch["click"] for batch in one["predictions"]]), rtol=1e-9, atol=1e-11
    )


@pytest.mark.slow
def test_three_ranks_equal_one_with_uneven_batches(tmp_path: Path, run: Any) -> None:
    options = {"model": "OMoE", "rows": 100, "arguments": {"experts": 2, "expert_units": [8], "sparse": True}}
    (one,) = run(tmp_path / "one", 1, options | {"batch_size": 24})
    for rank in run(tmp_path / "three", 3, options | {"batch_size": 8}):
        for name, weight in one["weights"].items():
            torch.testing.assert_close(
                rank["weights"][name], weight, rtol=1e-9, atol=1e-11, msg=partial("{}: {}".format, name)
            )


@pytest.mark.slow
def test_train_losses_go_on_over_a_stop(tmp_path: Path, run: Any) -> None:
    """Their sums are those of each process; 4 batches an epoch, logged after the sixth and the last."""
    options = {"model": "SharedBottom", "batch_size": 26, "epochs": 2, "log_every_n_steps": 6}
    whole = run(tmp_path / "whole", 2, options)
    for stop in (3, 7):
        again = run(tmp_path / f"stop{stop}", 2, {**options, "stop": stop})
        for one, other in zip(whole, again, strict=True):
            assert one["steps"] == other["steps"] == 8
            for name, value in one["metrics"]["train"].items():
                if name.startswith("train/"):
                    assert float(other["metrics"]["train"][name]) == pytest.approx(float(value), rel=1e-5), name
