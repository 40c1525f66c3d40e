"""Trainings with surgery on one process and on several: `case` says what, `compare` that they end the same."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
from ranks import run_on_ranks, saved_by_ranks

SCRIPT = Path(__file__).with_name("surgery_script.py")
NAMED = "{}: {}".format
OPTIONS: dict[str, dict[str, Any]] = {"Fixed": {"weights": [0.5, 1.0, 2.0]}}
NETWORK = {"expert_units": [6], "tower_units": [4], "lr": 0.003, "optimizer": "sgd"}


def run(folder: Path, world_size: int, cases: list[dict[str, Any]]) -> list[list[dict[str, torch.Tensor]]]:
    """Weights of every case, by rank."""
    folder.mkdir()
    run_on_ranks(SCRIPT, world_size, str(folder), json.dumps(cases))
    return saved_by_ranks(folder, world_size)


def case(rule: str, level: str, *, sparse: bool, model: str = "MMoE", **more: Any) -> dict[str, Any]:
    arguments = NETWORK | {"sparse": sparse} | ({"experts": 2} if model == "MMoE" else {}) | more.pop("arguments", {})
    if model == "SharedBottom":
        arguments["bottom_units"] = arguments.pop("expert_units")
    options = OPTIONS.get(rule, {})
    return {"rule": rule, "options": options, "level": level, "model": model, "arguments": arguments, **more}


def compare(folder: Path, world_size: int, cases: list[dict[str, Any]], tolerance: float = 1e-8) -> None:
    cases = [{"steps": 11, "batch_size": 24} | one for one in cases]  # an epoch of 9 with an uneven end, and on
    (single,) = run(folder / "one", 1, cases)
    for rank in run(folder / "many", world_size, cases):
        for one, got, wanted in zip(cases, rank, single, strict=True):
            for name, weight in wanted.items():
                torch.testing.assert_close(
                    got[name],
                    weight,
                    rtol=tolerance,
                    atol=tolerance,
                    msg=partial(NAMED, f"{one['rule']} {one['level']} {name}"),
                )
