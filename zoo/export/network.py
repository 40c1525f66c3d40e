"""A model as a function of a batch that other programs run: from encoded features to predictions."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mtlzoo.schema import FeatureSchema
from mtlzoo.training.evaluated import EvaluatedModule

Predictions = dict[str, Tensor]
TOLERANCE = 1e-6
"""Difference from the model's own predictions, of probabilities and in units of a regression's scale."""
SIZES = (1, 7, 4096)
"""Rows of the batches that a file is tried with."""


class Network(nn.Module):
    """Predictions of a batch.

    Args:
        model: In evaluation mode.
    """

    def __init__(self, model: EvaluatedModule) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: dict[str, Tensor]) -> Predictions:
        """By task, as `predict_step` has them."""
        logits = self.model.forward(batch)  # not a call: `compile` makes kernels of that, which no file holds
        tasks = self.model.schema.tasks
        return {task.name: task.predict(logits[task.name]) for task in tasks if task.name in logits}


@contextmanager
def network(model: EvaluatedModule) -> Iterator[Network]:
    """The model as a network, made ready to predict for that long.

    Raises:
        ValueError: It is not on the CPU.
    """
    if model.device.type != "cpu":
        raise ValueError(f"{type(model).__name__} is on {model.device}; formats are written on the CPU. Move it there.")
    trains = model.training
    model.eval()
    try:
        with torch.no_grad():
            model.on_predict_epoch_start()  # what is the same for all rows, a model of rankings encodes once
            yield Network(model)
    finally:
        model.on_predict_epoch_end()
        model.train(trains)


def example(schema: FeatureSchema, rows: int) -> dict[str, Tensor]:
    """A batch of random features: keys, types and widths as of every batch of the schema."""
    draw = torch.Generator().manual_seed(rows)
    batch: dict[str, Tensor] = {}
    if schema.categorical:
        columns = [torch.randint(feature.cardinality, (rows,), generator=draw) for feature in schema.categorical]
        batch["categorical"] = torch.stack(columns, 1).int()
    if schema.numeric:
        batch["numeric"] = torch.randn(rows, len(schema.numeric), generator=draw)
    for feature in schema.sequences:
        ids = torch.randint(feature.cardinality, (rows, feature.max_length), generator=draw)
        lengths = torch.randint(feature.max_length + 1, (rows, 1), generator=draw)
        batch[feature.name] = torch.where(torch.arange(feature.max_length) < lengths, ids, 0).int()
    return batch


def check_same(what: str, network: Network, run: Callable[[dict[str, Tensor]], Mapping[str, Tensor]]) -> None:
    """Compares a file's answers with the model's.

    Args:
        what: The file, for the message.
        network: The model.
        run: Answers of the file.

    Raises:
        ValueError: They differ by more than `TOLERANCE`.
    """
    for rows in SIZES:
        batch = example(network.model.schema, rows)
        expected, found = network(batch), run(batch)
        for task in network.model.schema.tasks:
            if task.name not in expected:
                continue
            unit = torch.clamp(expected[task.name].abs() / task.scale, min=1.0) * task.scale
            apart = float(((found[task.name] - expected[task.name]).abs() / unit).max())
            if found[task.name].shape != expected[task.name].shape or not apart <= TOLERANCE:
                raise ValueError(
                    f"{what}: task {task.name!r} differs from the model by {apart:.1e} in a batch of {rows}; allowed "
                    f"is {TOLERANCE:.0e}. Nothing was written; export without this format."
                )


def first_line(error: Exception) -> str:
    """What an error of torch or a runtime says first; they print pages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [repr(error)])[0][:300]
