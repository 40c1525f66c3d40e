"""``model.onnx``: the network as ONNX Runtime runs it."""

from pathlib import Path

import torch
from torch import Tensor
from torch.export import ExportedProgram

from mtlzoo.export.contents import ONNX, network_names
from mtlzoo.export.network import Network, Predictions, check_same, example, first_line

LARGEST = 1 << 30
"""Bytes of weights up to which they are in the ONNX file itself, which can't hold 2 GB; else in one beside it."""


def write_onnx(folder: Path, net: Network, program: ExportedProgram, name: str = ONNX) -> None:
    """Writes ``model.onnx``, or under another name, compared with the model.

    Raises:
        ValueError: ONNX has no such form of the network, or it answers otherwise.
    """
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
        made.save(folder / name, external_data=size > LARGEST)
        session = onnxruntime.InferenceSession(folder / name, providers=["CPUExecutionProvider"])
    except Exception as error:  # whatever torch or the runtime can't do
        raise ValueError(f"{type(net.model).__name__} can't be written as ONNX: {first_line(error)}") from error

    def run(batch: dict[str, Tensor]) -> Predictions:
        found = session.run([*outputs.values()], {inputs[name]: values.numpy() for name, values in batch.items()})
        return {task: torch.from_numpy(values) for task, values in zip(outputs, found, strict=True)}

    check_same(name, net, run)


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
