"""The network of a model in formats that other programs run: ``model.pt2``, ``model.onnx`` and ``triton/``."""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram, export, load, save

from mtlzoo.export.contents import ONNX, PT2, TRITON, network_names
from mtlzoo.export.network import Network, Predictions, check_same, example, network
from mtlzoo.export.triton import write_config
from mtlzoo.training.evaluated import EvaluatedModule

LARGEST = 1 << 30
"""Bytes of weights up to which they are in the ONNX file itself, which can't hold 2 GB; else in one beside it."""


def write_formats(folder: Path, model: EvaluatedModule, formats: Sequence[str]) -> None:
    """Writes files that answer as the model does, within `TOLERANCE` at every size of batch that is tried.

    Args:
        folder: Where they go.
        model: The model.
        formats: Of `FORMATS`.

    Raises:
        ValueError: A format that there is not, or that the model can't be written in; with the reason.
    """
    check_formats(formats)
    if not formats:
        return
    with network(model) as net, _quiet():
        # Not of one row: torch.export takes sizes 0 and 1 for constants (pytorch 151582).
        batch = example(model.schema, 3)
        rows = Dim("rows")
        try:
            program = export(net, (batch,), dynamic_shapes=({name: {0: rows} for name in batch},), strict=False)
        except Exception as error:  # whatever torch finds in a network
            raise ValueError(f"{type(model).__name__} can't be exported: {_first(error)}") from error
        for name in formats:
            FORMATS[name](folder, net, program)


def check_formats(formats: Sequence[str]) -> None:
    """Refuses formats that there are not.

    Raises:
        ValueError: With those that there are, or how to get what they need.
    """
    if unknown := [name for name in formats if name not in FORMATS]:
        raise ValueError(f"formats {unknown}: allowed are {sorted(FORMATS)}.")
    for needed in ("onnx", "onnxscript", "onnxruntime") if {"onnx", "triton"} & {*formats} else ():
        try:
            import_module(needed)
        except ModuleNotFoundError as error:
            raise ValueError(f"no {error.name}, which ONNX needs. Get it: pip install 'mtlzoo[export]'") from None


def _write_pt2(folder: Path, net: Network, program: ExportedProgram) -> None:
    save(program, folder / PT2)
    module = load(folder / PT2).module()
    check_same(PT2, net, module)


def _write_onnx(folder: Path, net: Network, program: ExportedProgram) -> None:
    import onnxruntime

    inputs, outputs = network_names(net.model.schema)
    outputs = {task: name for task, name in outputs.items() if task in net(example(net.model.schema, 3))}
    size = sum(
        weight.nbytes
        for weight in [*program.state_dict.values(), *program.constants.values()]
        if isinstance(weight, Tensor)
    )
    _drop_idle_squeezes(program)
    try:
        made = torch.onnx.export(
            program, dynamo=True, verbose=False, input_names=[*inputs.values()], output_names=[*outputs.values()]
        )
        assert made is not None
        made.save(folder / ONNX, external_data=size > LARGEST)
        session = onnxruntime.InferenceSession(folder / ONNX, providers=["CPUExecutionProvider"])
    except Exception as error:  # whatever torch or the runtime can't do
        raise ValueError(f"{type(net.model).__name__} can't be written as ONNX: {_first(error)}") from error

    def run(batch: dict[str, Tensor]) -> Predictions:
        found = session.run([*outputs.values()], {inputs[name]: values.numpy() for name, values in batch.items()})
        return {task: torch.from_numpy(values) for task, values in zip(outputs, found, strict=True)}

    check_same(ONNX, net, run)


def _write_triton(folder: Path, net: Network, program: ExportedProgram) -> None:
    name = type(net.model).__name__
    version = folder / TRITON / name / "1"
    version.mkdir(parents=True)
    _write_onnx(version, net, program)
    write_config(version / ONNX, name)


FORMATS: dict[str, Callable[[Path, Network, ExportedProgram], None]] = {
    "onnx": _write_onnx,
    "pt2": _write_pt2,
    "triton": _write_triton,
}


def _drop_idle_squeezes(program: ExportedProgram) -> None:
    """Takes away squeezes of axes that are longer than 1: torch does nothing there, ONNX refuses them."""
    graph = program.graph_module.graph
    for node in [node for node in graph.nodes if node.target is torch.ops.aten.squeeze.dim]:
        source, axis = node.args
        width = source.meta["val"].shape[axis]
        if isinstance(width, int) and width != 1:
            node.replace_all_uses_with(source)
            graph.erase_node(node)
    program.graph_module.recompile()


def _first(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [repr(error)])[0][:300]


@contextmanager
def _quiet() -> Iterator[Any]:
    """Without what torch says of itself: deprecations in its own code, and packages that it would know more with."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
