"""What CUDA refuses, refused by the pretended device as well, so that it is met where no GPU is.

From the documentation of `torch.use_deterministic_algorithms` in torch 2.13, and what kernels say beside it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pretended
import torch
from torch import Tensor

IN_NO_FIXED_ORDER = frozenset(
    [
        "_ctc_loss_backward",
        "adaptive_max_pool2d_backward",
        "avg_pool3d_backward",
        "grid_sampler_2d_backward",
        "histc",
        "index_reduce",
        "kthvalue",
        "max_unpool2d",
        "nll_loss2d_backward",
        "nll_loss2d_forward",
        "put",
        "upsample_bilinear2d_backward",
        "upsample_linear1d_backward",
    ]
)
"""Operations that raise, whatever they are given."""
SOLVERS = frozenset(["_linalg_eigh", "_linalg_svd", "_linalg_solve_ex", "linalg_cholesky_ex"])
LIMIT = 32768
"""Matrices that cuSOLVER was seen to take at once."""


@contextmanager
def deterministic(*, warn_only: bool = False) -> Iterator[None]:
    """Has torch refuse what is in no fixed order, or warn of it; the pretended device refuses it."""
    torch.use_deterministic_algorithms(True, warn_only=warn_only)
    pretended.watchers.append(_refuse)
    try:
        yield
    finally:
        pretended.watchers.remove(_refuse)
        torch.use_deterministic_algorithms(False)


def _refuse(name: str, args: Any, kwargs: Any) -> None:
    operation = name.removeprefix("aten::").removesuffix("_")
    first = args[0] if args and isinstance(args[0], Tensor) else None
    if operation in SOLVERS and first is not None and first.shape[:-2].numel() > LIMIT:
        raise RuntimeError("cusolver error: CUSOLVER_STATUS_INVALID_VALUE")
    floating = first is not None and (kwargs.get("dtype") or first.dtype).is_floating_point
    refused = (
        operation in IN_NO_FIXED_ORDER
        or (operation == "cumsum" and floating)
        or (
            operation == "bincount"
            and (kwargs.get("weights") is not None or any(isinstance(a, Tensor) for a in args[1:]))
        )
        or (operation == "median" and len(args) > 1)
        or (operation == "_embedding_bag_backward" and args[7] == 2)
        or (operation.startswith("scatter_reduce") and "prod" in args)
    )
    if refused and torch.are_deterministic_algorithms_enabled():
        raise RuntimeError(f"{operation} does not have a deterministic implementation")
