"""Section `training` of benchmarks/device.py: `mtlzoo fit` on the device beside a bare loop, and other libraries.

The networks and the generated rows are those of benchmarks/cases.py and `light MMoE`, three experts of one layer. The
bare loop holds its batches on the device. Checkpoints and validation are off: they lie outside of what is timed, and
tables of 100 million ids would be written twice. Other libraries get dense gradients of their tables, as they have
them, and the case with 10 million ids.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from cases import CASES, KUAIRAND, Case

BATCHES = (65_536, 4096)
ROWS = 60 * 65_536
"""Of all cases, so that those with the same columns share their data."""
CHUNKS = 8
"""Pairs of so many steps of ours and of the bare loop; the first is not counted."""
MMOE = {"experts": 3, "expert_units": [64], "tower_units": []}
LARGE = {f"field_{i}": 5_000_000 for i in range(20)}
NETWORKS: dict[str, tuple[Case, dict[int, int]]] = {
    "light": (CASES["light"], {65_536: 7, 4096: 50}),
    "light MMoE": (replace(CASES["light"], model="MMoE", options=MMOE), {65_536: 7, 4096: 50}),
    "heavy": (CASES["heavy"], {65_536: 2, 4096: 10}),
    "large, 10 million ids": (CASES["large"], {65_536: 4, 4096: 20}),
    "large, 100 million ids": (replace(CASES["large"], fields=LARGE, hashed=4_999_998), {65_536: 4, 4096: 20}),
}
"""Each with the steps of a chunk, by batch."""
COMPARED = ("light MMoE", "heavy", "large, 10 million ids")
"""What other libraries are measured on, at a batch of 4,096."""
OFF: dict[str, Any] = {
    "devices": 1,
    "enable_checkpointing": False,
    "limit_val_batches": 0,
    "num_sanity_val_steps": 0,
}
TINY = replace(CASES["light"], fields=dict.fromkeys(KUAIRAND, 20), rows=640, batch=64, peer_chunk=1, peer_chunks=3)


def cases(device: str, quick: bool, folder: Path) -> dict[str, Callable[[], dict[str, Any]]]:
    """Ours eager, ours compiled, others; what would be missed least comes last."""
    from trainers import PEERS

    found: dict[str, Callable[[], dict[str, Any]]] = {}
    if quick:
        found["mtlzoo, tiny"] = partial(ours, TINY, "tiny", 1, device, folder, False)
        return found | {f"{name}, tiny": partial(other, name, TINY, "tiny", device, folder) for name in PEERS}
    for compiled in (False, True):
        for name, (case, chunks) in NETWORKS.items():
            for batch, chunk in chunks.items():
                if not (compiled and case.options.get("sparse")):  # sparse gradients are not compiled
                    one = replace(case, rows=ROWS, batch=batch)
                    call = partial(ours, one, name, chunk, device, folder, compiled)
                    found[f"mtlzoo, {name}, {batch:,}{', compiled' if compiled else ''}"] = call
    for name in COMPARED:
        one = replace(NETWORKS[name][0], rows=ROWS, peer_chunk=2, peer_chunks=4)
        for library in PEERS:
            found[f"{library}, {name}, 4,096"] = partial(other, library, one, name, device, folder)
    return found


def ours(case: Case, name: str, chunk: int, device: str, folder: Path, compiled: bool) -> dict[str, Any]:
    """`mtlzoo fit`, for `CHUNKS` chunks."""
    from trainers import ours as fit

    limit = min(chunk * CHUNKS + 1, case.rows // case.batch)  # the last chunk ends when another batch is asked for
    case = replace(case, chunk=chunk)
    pairs = fit(case, folder, device, compiled=compiled, limit_train_batches=limit, **OFF)
    how = {"library": "mtlzoo", "network": name, "batch": case.batch, "compiled": compiled}
    return how | _rounded(pairs.summary(case.batch))


def other(library: str, case: Case, name: str, device: str, folder: Path) -> dict[str, Any]:
    """Another library's own training loop, beside the same bare loop."""
    from trainers import PEERS, peer

    pairs = peer(case, folder, PEERS[library], device)
    return {"library": library, "network": name, "batch": case.batch} | _rounded(pairs.summary(case.batch))


def _rounded(summary: dict[str, float]) -> dict[str, float]:
    return {key: round(value, 3) if value < 100 else round(value) for key, value in summary.items()}
