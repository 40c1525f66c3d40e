"""Where the host would wait for a GPU: counted on the pretended device, by the line of ours that asks for it.

What torch's kernels for CUDA do is known here, not seen: an operation waits if its numbers go to the host, if the shape
of its result depends on numbers, or if it copies ordinary memory to the GPU without ``non_blocking``.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pretended
import torch
from pretended import Pretended
from torch import Tensor

REPOSITORY = Path(__file__).resolve().parents[2]
OURS = ("zoo/", "callbacks/", "datamodules/")
LOOKS = {
    "_linalg_check_errors": "an error is looked for",
    "_linalg_eigh": "an error is looked for",
    "_linalg_svd": "an error is looked for",
    "_local_scalar_dense": "a number goes to the host",
    "allclose": "a number goes to the host",
    "equal": "a number goes to the host",
    "is_nonzero": "a number goes to the host",
    "item": "a number goes to the host",
}
SHAPES = frozenset(
    [
        "_coalesce",
        "_pack_padded_sequence",
        "_to_sparse",
        "_unique",
        "_unique2",
        "argwhere",
        "bincount",
        "masked_select",
        "nonzero",
        "nonzero_numpy",
        "unique_consecutive",
        "unique_dim",
        "unique_dim_consecutive",
    ]
)
"""Operations whose result has a shape that depends on numbers."""


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Counts waits: by place, ``file:function``, and what is waited for; and messages to other processes."""
    waits: Counter[str] = Counter()

    def watch(name: str, args: Any, kwargs: Any) -> None:
        if reason := why(name, args, kwargs):
            waits[f"{place()}: {reason}"] += 1

    pretended.watchers.append(watch)
    try:
        yield waits
    finally:
        pretended.watchers.remove(watch)


def why(name: str, args: Any, kwargs: Any) -> str | None:
    """What the host would wait for in an operation, or which message it sends; None if it does neither."""
    if name.startswith("c10d::"):
        return name.removeprefix("c10d::").rstrip("_")
    name = name.removeprefix("aten::")
    if name in ("_to_copy", "copy_"):
        return _copied(name, args, kwargs)
    if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
        return _indexed(name, args)
    if name in LOOKS:
        return LOOKS[name]
    if name == "masked_fill" or name == "masked_fill_":
        return "a number goes to the host" if isinstance(args[2], Pretended) else None
    if name == "repeat_interleave":  # of numbers of repeats
        size = args[1] if len(args) > 1 else kwargs.get("output_size")
        return f"the shape of {name}" if size is None else None
    return f"the shape of {name}" if name in SHAPES else None


def _copied(name: str, args: Any, kwargs: Any) -> str | None:
    if name == "copy_":
        to, source = args[0], args[1]
        blocking = not (args[2] if len(args) > 2 else kwargs.get("non_blocking"))
    else:
        source, blocking = args[0], not kwargs.get("non_blocking")
        device = kwargs.get("device")
        there = isinstance(source, Pretended) if device is None else torch.device(device).type == pretended.NAME
        to = source if there == isinstance(source, Pretended) else None
        if to is None and not isinstance(source, Pretended):
            return "a copy to the device" if blocking else None
    if not isinstance(to, Pretended) and isinstance(source, Pretended):
        return "a copy to the host" if blocking else None
    if isinstance(to, Pretended) and isinstance(source, Tensor) and not isinstance(source, Pretended):
        return "a copy to the device" if blocking else None
    return None


def _indexed(name: str, args: Any) -> str | None:
    indices = [index for index in args[1] if index is not None]
    if any(not isinstance(index, Pretended) for index in indices):
        return "a copy to the device"
    masks = [index for index in indices if index.dtype in (torch.bool, torch.uint8)]
    if not masks:
        return None
    if name != "index" and len(masks) == len(indices) == 1 and args[2].numel() == 1:  # torch fills by the mask
        return "a number goes to the host" if isinstance(args[2], Pretended) else None
    return "the shape of a part by a mask"


def place() -> str:
    """The innermost function of ours, or of Lightning, or of a test, that runs."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        path, function = frame.f_code.co_filename, frame.f_code.co_name
        if function.startswith("<"):  # a comprehension, which is a function of its own before Python 3.12
            pass
        elif path.startswith(str(REPOSITORY)) and "/site-packages/" not in path:
            name = Path(path).relative_to(REPOSITORY).as_posix()
            if name.startswith(OURS) or (name.startswith("tests/") and not name.startswith("tests/devices/")):
                return f"{name}:{function}"
        elif "/site-packages/lightning/" in path:
            return f"lightning {Path(path).name}:{function}"
        frame = frame.f_back
    return "autograd"
