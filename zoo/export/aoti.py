"""``model.aoti.pt2``: the network compiled to machine code by AOTInductor, for torch in Python and in C++."""

from pathlib import Path

import torch
from torch.export import ExportedProgram

from mtlzoo.export.contents import AOTI
from mtlzoo.export.network import Network, check_same, first_line


def write_aoti(folder: Path, net: Network, program: ExportedProgram) -> None:
    """Writes ``model.aoti.pt2``, compared with the model. It is for this version of torch and this kind of processor.

    Source: https://docs.pytorch.org/docs/stable/torch.compiler_aot_inductor.html

    Raises:
        ValueError: There is no C++ compiler, torch can't compile the network, or it answers otherwise.
    """
    path = folder / AOTI
    try:
        torch._inductor.aoti_compile_and_package(program, package_path=str(path))
        module = torch._inductor.aoti_load_package(str(path))
    except Exception as error:  # whatever torch or the compiler can't do
        if "InvalidCxxCompiler" in f"{type(error).__name__} {error}":
            raise ValueError(
                f"aoti compiles the network, and {first_line(error)}. Get one (Debian: apt-get install g++), or name "
                "it in CXX; or export without this format."
            ) from error
        raise ValueError(f"{type(net.model).__name__} can't be compiled: {first_line(error)}") from error
    check_same(AOTI, net, module)
