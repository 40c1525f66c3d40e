"""One table for all fields, or a table for each? Dense and sparse gradients, and the optimisers of tables.

    python benchmarks/embedding.py [--seconds 15] [--batch_size 4096] [--small]

One training step of an embedding alone (lookup, backward, optimiser) of dim 16, on ids with a long tail:

* tables    `one`: `mtlzoo.embedding.FeatureEmbedding`; `each`: nn.Embedding per field, concatenated
* optimiser Adam(fused=True) with dense gradients; `mtlzoo.optim.RowOptimizer` and torch's SparseAdam with sparse ones

for 34 fields of 2,000 ids and for 20 fields of 500,000 (10 million rows; about 7 GB of memory; --small leaves it out).
"""

import argparse
import gc
from collections.abc import Callable, Iterator
from itertools import cycle

import torch
from interleave import busy, in_turn
from report import show, write
from torch import Tensor, nn

from mtlzoo.embedding import FeatureEmbedding
from mtlzoo.optim import RowOptimizer
from mtlzoo.schema import Categorical, FeatureSchema
from mtlzoo.tasks import Task

DIM = 16
SIZES = {"34 x 2,000": (34, 2_000), "20 x 500,000": (20, 500_000)}


class Each(nn.Module):
    """A table per field. Batch -> [B, F * dim]."""

    def __init__(self, fields: int, cardinality: int, sparse: bool) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(cardinality, DIM, sparse=sparse) for _ in range(fields))

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """All fields side by side."""
        ids = batch["categorical"].unbind(1)
        return torch.cat([table(i) for table, i in zip(self.tables, ids, strict=True)], 1)


def one(fields: int, cardinality: int, sparse: bool) -> FeatureEmbedding:
    """The project's embedding."""
    features = tuple(Categorical(f"field_{i}", cardinality) for i in range(fields))
    return FeatureEmbedding(FeatureSchema(features, (Task("click"),)), DIM, sparse=sparse)


def batches(fields: int, cardinality: int, batch_size: int, device: str) -> Iterator[dict[str, Tensor]]:
    """The same 16 batches over and over; few ids are frequent."""
    made = [(cardinality * torch.rand(batch_size, fields) ** 2.5).to(torch.int32) for _ in range(16)]
    return cycle({"categorical": ids.to(device)} for ids in made)


def step(network: nn.Module, optimizer: torch.optim.Optimizer, data: Iterator[dict[str, Tensor]]) -> Callable[[], None]:
    """One training step; the gradient of the vectors is given, so that nothing but the embedding is timed."""
    gradient = torch.randn_like(network(next(data)))

    def run() -> None:
        optimizer.zero_grad()
        network(next(data)).backward(gradient)
        optimizer.step()

    return run


def measure(
    fields: int, cardinality: int, device: str, seconds: float, batch_size: int
) -> dict[tuple[str, str], float]:
    """Seconds of a step by (tables, optimiser)."""
    data = batches(fields, cardinality, batch_size, device)
    times: dict[tuple[str, str], float] = {}
    for sparse in (False, True):
        networks: dict[str, nn.Module] = {
            "one": one(fields, cardinality, sparse).to(device),
            "each": Each(fields, cardinality, sparse).to(device),
        }
        ways: dict[str, Callable[[], None]] = {}
        for name, network in networks.items():
            parameters = list(network.parameters())
            if sparse:
                ways[f"{name} row"] = step(network, RowOptimizer(parameters), data)
                ways[f"{name} SparseAdam"] = step(network, torch.optim.SparseAdam(parameters), data)
            else:
                ways[f"{name} Adam"] = step(network, torch.optim.Adam(parameters, fused=True), data)
        for way, time in in_turn(ways, seconds).items():
            tables, optimizer = way.split()
            times[tables, optimizer] = time
        del networks, ways, parameters, network
        gc.collect()
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--batch_size", type=int, default=4096)
    parser.add_argument("--seconds", type=float, default=15.0, help="per comparison")
    parser.add_argument("--small", action="store_true", help="leave out the 10 million ids")
    parser.add_argument("--busy", action="store_true", help="one thread and its CPU time, for a shared machine")
    options = parser.parse_args()
    busy(options.busy)
    torch.manual_seed(0)
    rows = []
    for device in ("cpu", *(["cuda"] if torch.cuda.is_available() else [])):
        for size, (fields, cardinality) in list(SIZES.items())[: 1 if options.small else None]:
            times = measure(fields, cardinality, device, options.seconds, options.batch_size)
            for (tables, optimizer), time in times.items():
                row = {
                    "device": device,
                    "fields x ids": size,
                    "tables": tables,
                    "optimiser": optimizer,
                    "ms": 1e3 * time,
                }
                row["each / one"] = times["each", optimizer] / time if tables == "one" else None
                row["SparseAdam / row"] = times[tables, "SparseAdam"] / time if optimizer == "row" else None
                rows.append(row)
    show(f"One step of the embedding, dim {DIM}, batch {options.batch_size}", rows)
    write("embedding", vars(options), rows)


if __name__ == "__main__":
    main()
