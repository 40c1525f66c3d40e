"""A device that isn't there: it keeps its numbers on the CPU, and refuses to mix them with tensors that lie there."""

# mypy: disable-error-code="override,attr-defined,unused-ignore,misc,arg-type,assignment"

import copy
import sys
import threading
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch.accelerators import MPSAccelerator
from torch import Tensor
from torch.nn import Parameter
from torch.overrides import TorchFunctionMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "pretended"
CPU = torch.device("cpu")
MAY_MIX = (
    "aten::_to_copy",
    "aten::copy_",
    "aten::index",
    "aten::index_put",
    "aten::index_put_",
    "aten::_index_put_impl_",
)
"""Operations that take tensors of the CPU beside those of a GPU."""

watchers: list[Callable[[str, Any, Any], None]] = []
"""Told of every operation before it runs, by name and with its arguments."""

_setup_privateuseone_for_python_backend(NAME)
torch.get_device_module(NAME).get_amp_supported_dtype = lambda: [torch.float16, torch.bfloat16]


class Pretended(Tensor):
    """A tensor of the pretended device; `raw` holds its numbers."""

    raw: Tensor

    @staticmethod
    def __new__(cls, raw: Tensor) -> "Pretended":
        """Wraps a tensor of the CPU."""
        strided = raw.layout == torch.strided
        with torch.inference_mode(raw.is_inference()):
            made: Pretended = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
                cls,
                raw.size(),
                strides=raw.stride() if strided else None,
                storage_offset=raw.storage_offset() if strided else None,
                dtype=raw.dtype,
                layout=raw.layout,
                device=f"{NAME}:0",
            )
        made.raw = raw
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Computes on the CPU."""
        try:
            return compute(func, *args, **(kwargs or {}))
        except Exception as error:
            # A thread of autograd would end the process before anybody hears: torch unwinds streams that aren't here.
            if threading.current_thread() is not threading.main_thread():
                print(f"{NAME}, in a backward pass: {error}", file=sys.__stderr__)
            raise

    def __repr__(self, **_: Any) -> str:
        """The numbers, and where they are said to be."""
        return f"{NAME}({self.raw})"

    # What torch does below the keys that a backend in Python is found by.

    def __getitem__(self, index: Any) -> Any:
        """Part of it."""
        return super().__getitem__(self._index(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        """Sets part of it."""
        super().__setitem__(self._index(index), value)

    def _index(self, index: Any) -> Any:
        if isinstance(index, tuple):
            return tuple(self._index(one) for one in index)
        return torch.tensor(index, dtype=None if index else torch.int64).to(NAME) if isinstance(index, list) else index

    def new_tensor(self, data: Any, *, dtype: Any = None, **_: Any) -> Tensor:
        """A tensor of these numbers, there."""
        return torch.tensor(data, dtype=dtype or self.dtype).to(NAME)

    def numpy(self, *, force: bool = False) -> Any:
        """The numbers, if forced."""
        if not force:
            raise TypeError(f"can't convert {NAME}:0 device type tensor to numpy. Use Tensor.cpu() first.")
        _tell("aten::item", (self,), {})
        return self.raw.detach().numpy()

    def tolist(self) -> Any:
        """The numbers."""
        _tell("aten::item", (self,), {})
        return self.raw.detach().tolist()

    @property
    def data(self) -> Tensor:
        """The same without a graph."""
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        Tensor.data.__set__(self, value)  # type: ignore[attr-defined]
        self.raw = value.raw  # type: ignore[attr-defined]

    def __deepcopy__(self, memo: dict[int, Any]) -> "Pretended":
        """A copy, once."""
        if id(self) not in memo:
            twin = restore(self.raw.detach().clone(), self.requires_grad, isinstance(self, Parameter))
            memo[id(self)] = twin
            twin.grad = copy.deepcopy(self.grad, memo)
        made: Pretended = memo[id(self)]
        return made

    def __reduce_ex__(self, protocol: Any) -> Any:
        """As a checkpoint holds it."""
        return restore, (self.raw.detach(), self.requires_grad, isinstance(self, Parameter))


def restore(raw: Tensor, requires_grad: bool, is_parameter: bool) -> Tensor:
    """A tensor of a checkpoint."""
    made = Pretended(raw)
    return Parameter(made, requires_grad) if is_parameter else made.requires_grad_(requires_grad)


torch.serialization.add_safe_globals([restore])


def _tell(name: str, args: Any, kwargs: Any) -> None:
    for watcher in watchers:
        watcher(name, args, kwargs)


def compute(func: Any, *args: Any, **kwargs: Any) -> Any:
    """Calls on the CPU; what comes of it lies on the device that was asked for, else on the pretended one."""
    name = func._schema.name
    _tell(name, args, kwargs)
    there: dict[int, Pretended] = {}
    here = 0

    def lowered(value: Any) -> Any:
        nonlocal here
        if isinstance(value, Pretended):
            there[id(value.raw)] = value
            return value.raw
        if isinstance(value, Tensor):
            here += value.dim() > 0
        elif isinstance(value, torch.device):
            return CPU if value.type == NAME else value
        elif isinstance(value, list | tuple):
            return type(value)(map(lowered, value))
        return value

    on_cpu = [lowered(value) for value in args]
    named = {key: lowered(value) for key, value in kwargs.items()}
    if here and there and name not in MAY_MIX:
        raise RuntimeError(f"{name}: expected all tensors to be on one device, but found {NAME}:0 and cpu")
    device = kwargs.get("device")
    stays = torch.device(device).type == NAME if device is not None else True
    if name == "aten::copy_":
        stays = isinstance(args[0], Pretended)
    result = func(*on_cpu, **named)
    return _raised(result, there) if stays else result


def _raised(result: Any, known: dict[int, Pretended]) -> Any:
    """What an operation made, on the device."""
    if isinstance(result, Tensor):
        return _wrapped(result, known.get(id(result)))
    return type(result)([_raised(one, known) for one in result]) if isinstance(result, list | tuple) else result


def _wrapped(raw: Tensor, known: Pretended | None) -> Pretended:
    """A tensor around these numbers: the one that holds them, in its new shape (`squeeze_`, `out=`), else a new one."""
    if known is None:
        return Pretended(raw.resolve_conj().resolve_neg())  # torch would resolve them by bits that a wrapper lacks
    if known.size() != raw.size() or known.stride() != raw.stride():
        Tensor.data.__set__(known, Pretended(raw))
    return known


_library = torch.library.Library("_", "IMPL")
_library.fallback(compute, "PrivateUse1")


class Factories(TorchFunctionMode):
    """`torch.tensor(..., device=)`, which copies below the keys that a backend in Python is found by."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Makes it on the CPU, and moves it."""
        kwargs = dict(kwargs or {})
        device = kwargs.get("device")
        if func not in (torch.tensor, torch.as_tensor, torch.asarray) or device is None:
            return func(*args, **kwargs)
        return func(*args, **(kwargs | {"device": None})).to(device)


class PretendedAccelerator(MPSAccelerator):
    """What Lightning asks of one; MPS, since only GPUs that it knows are given their own device."""

    def setup_device(self, device: torch.device) -> None:
        """Nothing."""

    def teardown(self) -> None:
        """Nothing."""

    @staticmethod
    def parse_devices(devices: Any) -> Any:
        """The one."""
        return [torch.device(NAME, 0)]

    @staticmethod
    def get_parallel_devices(devices: Any) -> Any:
        """The one."""
        return [torch.device(NAME, 0)]

    @staticmethod
    def auto_device_count() -> int:
        """One."""
        return 1

    @staticmethod
    def is_available() -> bool:
        """Always."""
        return True

    def get_device_stats(self, device: Any) -> dict[str, Any]:
        """None."""
        return {}
