"""The device that tests run on, `MTLZOO_TEST_DEVICE`, and what stays on the CPU for a reason.

    MTLZOO_TEST_DEVICE=cuda python -m pytest tests/callbacks tests/zoo

What a test makes lies there: its tensors (drawn on the CPU, so that all devices get the same numbers) and the modules
that it builds. What the library makes lies where the library says: a default device would hide what it forgot to say.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors

TESTS = Path(__file__).resolve().parents[1]
NAME = os.environ.get("MTLZOO_TEST_DEVICE") or "cpu"
ACCELERATOR: Any = NAME
"""What tests give `lightning.Trainer`."""
if NAME == "pretended":
    import pretended

    pretended.Factories().__enter__()  # type: ignore[no-untyped-call]
    ACCELERATOR = pretended.PretendedAccelerator()
try:
    DEVICE = torch.zeros(2, device=NAME).add_(1).device
except (AssertionError, NotImplementedError, RuntimeError) as error:
    raise pytest.UsageError(f"MTLZOO_TEST_DEVICE={NAME}: torch can't compute there: {error}") from error

COMPILER = "torch's compiler doesn't trace how tensors are moved here"
NO_GRU = "pretended: torch fuses a GRU for no such device"
ENDS = "pretended: an error of a hook ends the process, as torch unwinds streams that such a device lacks"
NEW_ON_CPU = "pretended: after a training its parameters are new tensors on the CPU, where CUDA's keep their identity"
EXCEPTIONS = {
    "test_": "documents, the wheel and lists of names: no tensors",
    "devices/test_pretended": "runs tests on a device by itself",
    "configs/": "command lines that name the CPU",
    "datamodules/": "data are read and batched on the CPU",
    "zoo/cli/": "command lines that name the CPU",
    "zoo/export/": "formats are written on the CPU, and so are the answers that they are compared with",
    "zoo/test_compiled": COMPILER,
    "zoo/test_ddp": "processes that talk by gloo",
    "zoo/test_module.py::test_networks_compile": COMPILER,
    "zoo/serving/": "ONNX Runtime on the CPU",
    "zoo/training/test_optimised.py::test_bfloat16_trains": "pretended: autocast knows no such device",
    "zoo/test_old_runs": "runs that were made on the CPU",
    "callbacks/surgery/test_operation.py::test_a_gradient_that_is_not_finite": "told at the same step on the CPU only",
    "callbacks/surgery/test_callback.py::test_equals_dense_reference[64-true-1e-12-Recurrent": NO_GRU,
    "callbacks/surgery/test_callback.py::test_equals_dense_reference[32-true-1e-06-Recurrent": NO_GRU,
    "callbacks/surgery/test_callback.py::test_a_rule_of_whole_gradients_sees_all_that_is_shared[Recurrent": NO_GRU,
    "callbacks/surgery/test_callback.py::test_compiled_modules": COMPILER,
    "callbacks/gates/test_gate_monitor.py::test_a_compiled": COMPILER,
    "callbacks/surgery/test_certainty": COMPILER,
    "callbacks/surgery/test_compiled": COMPILER,
    "callbacks/surgery/test_loss_vectors.py::test_the_state_of_two": NEW_ON_CPU,
    "callbacks/surgery/test_loss_vectors.py::test_a_shared_layer_that_comes": NEW_ON_CPU,
    "callbacks/surgery/test_passes.py::test_together_equals_one_by_one[Recurrent": NO_GRU,
    "callbacks/surgery/test_passes.py::test_what_cannot_run_together": ENDS,
    "callbacks/surgery/test_torchjd": "pretended: such a device has no random state, which weightings of torchjd keep",
    "callbacks/surgery/test_foreign_ddp": "processes that talk by gloo",
    "callbacks/test_balancing.py::test_fp16": "pretended: autocast knows no such device",
    "callbacks/test_balancing.py::test_fsdp": "pretended: torch has no processes on such a device",
    "callbacks/test_balancing.py::test_reentrant": "pretended: autocast knows no such device",
    "callbacks/test_balancing_ddp": "processes that talk by gloo",
}
"""Tests (beginnings of their ids, below tests/) that stay on the CPU, and why; some only if the device is pretended."""


def reason_to_stay(test: str) -> str | None:
    """Why a test (its id, below tests/) runs on the CPU only."""
    return next(
        (
            why
            for beginning, why in EXCEPTIONS.items()
            if test.startswith(beginning) and (NAME == "pretended" or not why.startswith("pretended:"))
        ),
        None,
    )


class OnDevice(TorchFunctionMode):
    """Moves what tests make to the device."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Calls, and moves what came of a test's call without a device; numpy gets a test's numbers from there."""
        if func is Tensor.__array__ and _by_a_test():
            args = (args[0].cpu(), *args[1:])
        made = func(*args, **(kwargs or {}))
        if func not in _device_constructors() or (kwargs or {}).get("device") is not None or not _by_a_test():
            return made
        if made.device == DEVICE or type(made) is not Tensor:  # such as a fake one
            return made
        return made.detach().to(DEVICE).requires_grad_(made.requires_grad)


def _by_a_test() -> bool:
    """Whether a test makes a tensor: itself, or as part of a module that it builds; not for Lightning, which asks for
    data and moves them.
    """
    frame: FrameType | None = sys._getframe(2)
    by_a_test, seen = True, False
    while frame is not None:
        path, name = frame.f_code.co_filename, frame.f_code.co_name
        if "/lightning/" in path or "/torch/utils/data/" in path:
            return False
        if path.startswith(str(TESTS)):
            seen = True
        elif not seen and path.startswith(str(TESTS.parent)) and "/site-packages/" not in path:
            by_a_test = name in ("__init__", "allocate")
        frame = frame.f_back
    return seen and by_a_test
