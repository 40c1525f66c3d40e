"""What is trained in benchmarks/training.py: three networks, and generated click logs in KuaiRand's shape."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import mtlzoo
from mtlzoo import MultiTaskModule
from mtlzoo.optim import RowOptimizer

BATCH = 4096
KUAIRAND = {
    "user_id": 27285,
    "video_id": 7583,
    "author_id": 6510,
    "music_id": 7202,
    "tab": 15,
    "hour": 24,
    "user_active_degree": 9,
    "follow_user_num_range": 8,
    "fans_user_num_range": 9,
    "friend_user_num_range": 7,
    "register_days_range": 8,
    "is_live_streamer": 2,
    "is_video_author": 2,
    "video_type": 3,
    "upload_type": 14,
    "music_type": 6,
    "server_width": 156,
    "server_height": 120,
    **{f"onehot_feat{i}": n for i, n in enumerate((2, 7, 50, 1471, 16, 34, 3, 118, 454, 7, 5, 5, 3, 3, 3, 3, 3, 3))},
}
"""Categorical columns of KuaiRand-Pure and how many values each has in the published files."""
RATES = {"is_click": 0.442, "long_view": 0.311, "is_like": 0.0171}


@dataclass(frozen=True)
class Case:
    """One network on one data set.

    Args:
        model: Class in `mtlzoo`.
        options: Of its constructor.
        fields: Number of values of each categorical column.
        rows: Rows of the train split.
        chunk: Steps between two stops of our trainer; the number of chunks follows from `rows`.
        peer_chunk: The same of the peers, which are slower.
        peer_chunks: Chunks of the peers.
        hashed: Ids are hashed into so many buckets per field instead of being looked up in a vocabulary.
        batch: Rows of a step.
    """

    model: str
    options: Mapping[str, Any]
    fields: Mapping[str, int]
    rows: int
    chunk: int
    peer_chunk: int
    peer_chunks: int
    hashed: int = 0
    batch: int = BATCH

    def network(self, schema: Any) -> MultiTaskModule:
        """The model, as the command line builds it."""
        network: MultiTaskModule = getattr(mtlzoo, self.model)(schema, **self.options)
        return network

    def data(self, folder: Path) -> dict[str, Any]:
        """Arguments of `TabularDataModule`; writes the click log if it is not there."""
        path = folder / f"{len(self.fields)}-fields-{sum(self.fields.values())}-ids-{self.rows}-rows.parquet"
        if not path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            click_log(self.fields, self.rows).write_parquet(path)
        hashed = {"hash_buckets": self.hashed} if self.hashed else {}
        return {
            "root": str(folder),
            "prepared": str(folder / "prepared"),
            "train": path.name,
            "features": {name: {"kind": "categorical", **hashed} for name in self.fields},
            "labels": dict.fromkeys(RATES, "binary"),
            "split": {"kind": "column", "column": "split"},
            "group": next(iter(self.fields)),
            "batch_size": self.batch,
        }


STEM = {
    "experts": 8,
    "expert_units": [512, 512, 512],
    "gate_units": [128, 64],
    "gate_bias": True,
    "tower_units": [128, 64],
}
LIGHT = {"bottom_units": [64], "tower_units": []}
CASES = {
    "heavy": Case("MMoE", STEM, KUAIRAND, 20 * BATCH, chunk=2, peer_chunk=2, peer_chunks=6),
    "light": Case("SharedBottom", LIGHT, KUAIRAND, 400 * BATCH, chunk=50, peer_chunk=10, peer_chunks=6),
    "large": Case(
        "SharedBottom",
        {**LIGHT, "sparse": True},
        {f"field_{i}": 500_000 for i in range(20)},
        150 * BATCH,
        chunk=15,
        peer_chunk=1,
        peer_chunks=6,
        hashed=499_998,  # 500,000 with padding and unknown: 10 million rows in all
    ),
}
"""By name. The networks' embeddings are 16 wide, as by default."""


def click_log(fields: Mapping[str, int], rows: int, seed: int = 0) -> Any:
    """Independent columns with few frequent and many rare values, and labels at KuaiRand's rates; of polars."""
    import polars as pl

    draw = np.random.default_rng(seed)
    held_out = 2 * BATCH
    total = rows + 2 * held_out
    columns = {name: (n * draw.random(total, dtype=np.float32) ** 2.5).astype(np.int32) for name, n in fields.items()}
    labels = {name: (draw.random(total) < rate).astype(np.int8) for name, rate in RATES.items()}
    split = pl.Series(["train", "val", "test"]).gather(np.repeat([0, 1, 2], [rows, held_out, held_out]))
    return pl.DataFrame({**columns, **labels}).with_columns(split.alias("split"))


def bare_loop(
    case: Case,
    schema: Any,
    columns: Mapping[str, Tensor],
    batches: int = 50,
    device: str = "cpu",
    compiled: bool = False,
) -> Callable[[int], None]:
    """Training without a trainer: batches are slices of shuffled tensors in memory, and nothing is logged.

    Args:
        case: Network.
        schema: Features and tasks.
        columns: Rows to train on, by batch key.
        batches: Batches that go round, or as many as there are rows for.
        device: Where network and tensors lie.
        compiled: The network is compiled by torch.

    Returns:
        A function that does a number of steps.
    """
    network = case.network(schema).to(device)
    if compiled:
        network.compile()
    batches = min(batches, len(columns["labels"]) // case.batch)
    rows = torch.randperm(len(columns["labels"]))[: batches * case.batch]
    ids, labels = (columns[name].index_select(0, rows).to(device) for name in ("categorical", "labels"))
    tables = list(network.tables().values()) if network.sparse else []
    dense = [p for p in network.parameters() if not any(p is table for table in tables)]
    optimizers: list[torch.optim.Optimizer] = [torch.optim.Adam(dense, fused=True)]
    optimizers += [RowOptimizer(tables)] if tables else []
    slices = (slice(i % batches * case.batch, (i % batches + 1) * case.batch) for i in count())

    def steps(number: int) -> None:
        for _ in range(number):
            part = next(slices)
            for optimizer in optimizers:
                optimizer.zero_grad()
            logits = network({"categorical": ids[part]})
            targets = labels[part].unbind(1)
            loss = sum(
                F.binary_cross_entropy_with_logits(logits[name], target)
                for name, target in zip(RATES, targets, strict=True)
            )
            loss.backward()  # type: ignore[union-attr]
            for optimizer in optimizers:
                optimizer.step()

    return steps
