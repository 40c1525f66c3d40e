"""``model.int8.onnx``: the network with tables of whole numbers, and what that costs in the model's metric."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from mtlzoo.export.contents import INT8
from mtlzoo.export.network import Network
from mtlzoo.export.onnx_file import write_onnx
from mtlzoo.export.seen import training_data
from mtlzoo.training.evaluated import EvaluatedModule

BATCH = 4096
"""Rows that are measured at a time."""


class Int8Embedding(nn.Module):
    """A table of which each row is whole numbers from -127 to 127 times a scale of its own.

    Args:
        table: The table, [rows, d].
    """

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__()
        weight = table.weight.detach().float()
        scale = weight.abs().amax(1, keepdim=True) / 127
        scale = torch.where(scale > 0, scale, 1.0)
        self.scale: Tensor
        self.whole: Tensor
        self.register_buffer("scale", scale)
        self.register_buffer("whole", (weight / scale).round().to(torch.int8))

    def forward(self, ids: Tensor) -> Tensor:
        """Rows of the table, float32."""
        return nn.functional.embedding(ids, self.whole).float() * nn.functional.embedding(ids, self.scale)


def write_int8(folder: Path, net: Network, export: Callable[[Network], ExportedProgram]) -> str:
    """Writes ``model.int8.onnx``, compared with a model of such tables, everything else being the same.

    Args:
        folder: Where it goes.
        net: The model.
        export: Its program.

    Returns:
        The model's main metric with and without, on the test rows of the training's data, or why it is not known.

    Raises:
        ValueError: The model has no tables or ranks by vectors, or as of `write_onnx`.
    """
    model = deepcopy(net.model, {id(getattr(net.model, "_trainer", None)): None})  # a trainer holds its data
    tables = {name: part for name, part in model.named_modules() if isinstance(part, nn.Embedding)}
    if not tables or hasattr(model, "vectors"):
        raise ValueError(
            f"{type(model).__name__} has no tables that int8 is for: those of features that a network reads. Export it "
            "without this format; of a model of rankings take vectors, whose indices have smaller forms of their own."
        )
    if broken := [name for name, table in tables.items() if not table.weight.isfinite().all()]:
        raise ValueError(f"{type(model).__name__}: {broken[0]} holds values that are not finite; it diverged.")
    for name, table in tables.items():
        owner, _, last = name.rpartition(".")
        setattr(model.get_submodule(owner), last, Int8Embedding(table))
    small = Network(model)
    write_onnx(folder, small, export(small), INT8)
    return _cost(net.model, model)


def _cost(model: EvaluatedModule, small: EvaluatedModule) -> str:
    data = training_data(getattr(model, "trained_on", None))
    if data is None:
        return "what int8 costs is not known: the prepared data of the training are gone"
    split = "test" if data.manifest["rows"].get("test") else "val"
    before, after = (_measured(each, data[split], split) for each in (model, small))
    metric = model.monitor[0].partition("/")[2].removesuffix("_mean")
    names = [name for name in before if name.endswith(f"/{metric}")]
    return "; ".join(f"{name} {before[name]:.6f}, with int8 tables {after[name]:.6f}" for name in names)


def _measured(model: EvaluatedModule, columns: Mapping[str, Tensor], split: str) -> dict[str, float]:
    model.measured(split)  # forgets what a training left
    rows = len(columns["labels"])
    for number, start in enumerate(range(0, rows, BATCH)):
        model.validation_step({name: values[start : start + BATCH] for name, values in columns.items()}, number)
    return model.measured(split)
