"""The formats that a model is written in for other programs, beside its weights."""

import logging
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from torch.export import Dim, ExportedProgram, export, load, save

from mtlzoo.export.aoti import write_aoti
from mtlzoo.export.contents import ONNX, PT2, TRITON
from mtlzoo.export.int8 import write_int8
from mtlzoo.export.network import Network, check_same, example, first_line, network
from mtlzoo.export.onnx_file import write_onnx
from mtlzoo.export.triton import write_config
from mtlzoo.export.vectors import write_vectors
from mtlzoo.training.evaluated import EvaluatedModule

Program = Callable[[], ExportedProgram]


def write_formats(folder: Path, model: EvaluatedModule, formats: Sequence[str]) -> dict[str, str]:
    """Writes files that answer as the model does, within `TOLERANCE` at every size of batch that is tried.

    Args:
        folder: Where they go; it holds the encoding, where there is one.
        model: The model.
        formats: Of `FORMATS`.

    Returns:
        What is to be known of a format, by its name.

    Raises:
        ValueError: A format that there is not, or that the model can't be written in; with the reason.
    """
    check_formats(formats)
    if not formats:
        return {}
    with network(model) as net, _quiet():
        program = cache(lambda: _exported(net))
        told = {name: FORMATS[name](folder, net, program) for name in sorted({*formats})}
    return {name: remark for name, remark in told.items() if remark}


def check_formats(formats: Sequence[str]) -> None:
    """Refuses formats that there are not.

    Raises:
        ValueError: With those that there are, or how to get what they need.
    """
    if unknown := [name for name in formats if name not in FORMATS]:
        raise ValueError(f"formats {unknown}: allowed are {sorted(FORMATS)}.")
    for needed in ("onnx", "onnxscript", "onnxruntime") if {"onnx", "onnx-int8", "triton"} & {*formats} else ():
        try:
            import_module(needed)
        except ModuleNotFoundError as error:
            raise ValueError(f"no {error.name}, which ONNX needs. Get it: pip install 'mtlzoo[export]'") from None


def _exported(net: Network) -> ExportedProgram:
    # Not of one row: torch.export takes sizes 0 and 1 for constants (pytorch 151582).
    batch = example(net.model.schema, 3)
    rows = Dim("rows")
    try:
        return export(net, (batch,), dynamic_shapes=({name: {0: rows} for name in batch},), strict=False)
    except Exception as error:  # whatever torch finds in a network
        raise ValueError(f"{type(net.model).__name__} can't be exported: {first_line(error)}") from error


def _write_pt2(folder: Path, net: Network, program: Program) -> None:
    save(program(), folder / PT2)
    check_same(PT2, net, load(folder / PT2).module())


def _write_triton(folder: Path, net: Network, program: Program) -> None:
    name = type(net.model).__name__
    version = folder / TRITON / name / "1"
    version.mkdir(parents=True)
    if not (folder / ONNX).is_file():  # by the format of that name, which comes before
        write_onnx(version, net, program())
    for path in folder.glob(f"{ONNX}*"):  # weights may lie beside it
        shutil.copy(path, version)
    write_config(version / ONNX, name)


FORMATS: dict[str, Callable[[Path, Network, Program], str | None]] = {
    "aoti": lambda folder, net, program: write_aoti(folder, net, program()),
    "onnx": lambda folder, net, program: write_onnx(folder, net, program()),
    "onnx-int8": lambda folder, net, _: write_int8(folder, net, _exported),
    "pt2": _write_pt2,
    "triton": _write_triton,
    "vectors": lambda folder, net, _: write_vectors(folder, net),
}


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
