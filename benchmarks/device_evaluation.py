"""Section `evaluation` of benchmarks/device.py: rows/s of AUC and GAUC, users/s of the full ranking, on the device."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import interleave
import metrics
import ranking
import torch


def cases(device: str, quick: bool, folder: Path) -> dict[str, Callable[[], dict[str, Any]]]:
    """AUC beside torchmetrics, GAUC, and the ranking beside `torch.topk`."""
    rows, users, items = (20_000, 1_000, 2_000) if quick else (20_000_000, 1_000_000, 300_000)
    return {
        "AUC": partial(streamed, ["mtlzoo AUC", "torchmetrics BinaryAUROC"], rows, users, device),
        "GAUC": partial(streamed, ["mtlzoo GAUC"], rows, users, device),
        "full ranking": partial(ranked, 1024 if quick else 20_000, items, device),
    }


def streamed(ways: list[str], rows: int, users: int, device: str) -> dict[str, Any]:
    """Rows/s of each, and how many times the first is as fast as the second."""
    columns = [torch.from_numpy(column).to(device) for column in metrics.predictions(rows, users)]
    steps = {way: metrics.WAYS[way](*columns) for way in ways}
    seconds = interleave.in_turn(steps, seconds=0, least=2)
    found: dict[str, Any] = {f"{way}, rows/s": round(rows / taken) for way, taken in seconds.items()}
    if len(ways) > 1:
        first, second = seconds.values()
        ours, other = (float(steps[way]()["auc"]) for way in ways)
        found |= {"times": round(second / first, 2), "apart": abs(ours - other)}
    return found


def ranked(users: int, items: int, device: str) -> dict[str, Any]:
    """Users/s of our ranking and the straightforward one."""
    vectors, known, excluded = (one.to(device) for one in ranking.drawn(users, items))
    steps = {way: partial(ranking.everyone, way, vectors, known, excluded) for way in ranking.WAYS}
    seconds = interleave.in_turn(steps, seconds=0, least=3)
    found: dict[str, Any] = {f"{way}, users/s": round(users / taken) for way, taken in seconds.items()}
    return found | {"times": round(seconds["topk"] / seconds["top_items"], 2)}
