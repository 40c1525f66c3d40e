"""A model repository of the Triton Inference Server: the ONNX network with its ``config.pbtxt``."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LARGEST_BATCH = 4096
"""Rows that Triton joins from waiting requests; the largest batch that an exported network is tried with."""
TYPES = {"tensor(float)": "TYPE_FP32", "tensor(double)": "TYPE_FP64", "tensor(int32)": "TYPE_INT32"}


def config(name: str, session: Any) -> str:
    """The ``config.pbtxt`` of a network, for the ONNX Runtime backend with dynamic batching.

    As Triton wants it of models that it batches, dims leave out the rows; a prediction per row, which has no other
    dim, is said as ``[1]`` and reshaped to none.

    Source: ``ModelConfig`` in triton-inference-server/common, ``model_config.proto``.

    Args:
        name: Of the model, and of its folder.
        session: The network in ONNX Runtime; rows are the first dim of all that it takes and gives.
    """
    parts = [
        f"name: {_text(name)}",
        'backend: "onnxruntime"',
        f"max_batch_size: {LARGEST_BATCH}",
        *(_tensor("input", each.name, each.type, each.shape[1:]) for each in session.get_inputs()),
        *(_tensor("output", each.name, each.type, each.shape[1:]) for each in session.get_outputs()),
        "dynamic_batching { }",
    ]
    return "\n".join(parts) + "\n"


def write_config(network: Path, name: str) -> None:
    """Writes the ``config.pbtxt`` of ``NAME/1/model.onnx`` into ``NAME/``."""
    import onnxruntime

    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    (network.parents[1] / "config.pbtxt").write_text(config(name, session), encoding="utf-8")


def _tensor(role: str, name: str, kind: str, dims: Sequence[int | str]) -> str:
    sizes = [dim if isinstance(dim, int) else -1 for dim in dims]
    shape = f"dims: {sizes}" if dims else "dims: [1]\n    reshape { shape: [] }"
    return f"{role} [\n  {{\n    name: {_text(name)}\n    data_type: {TYPES[kind]}\n    {shape}\n  }}\n]"


def _text(name: str) -> str:
    """Any name between quotes: protobuf's text format knows the escapes of JSON."""
    return json.dumps(name, ensure_ascii=False)
