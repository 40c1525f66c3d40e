"""Compiled backward passes that run once per task."""

import sys

import torch
from torch import _functorch
from torch.compiler import config

TAG = "backward passes that run again"


def let_passes_run_again() -> None:
    """Has what is compiled keep what its backward pass needs, in this process and from now on.

    A compiled backward pass works in the buffers that were saved for it, and so runs once, if nothing is said: run
    again, it gives zeros without a word (torch 2.13). What was compiled before in this process is compiled anew. So are
    kernels that torch finds on disk, as they don't tell which of the two they are: ours have names of their own.
    """
    if not _functorch.config.donated_buffer and _has_own_kernels():
        return
    _functorch.config.donated_buffer = False
    if not _has_own_kernels():
        config.cache_key_tag += TAG
    if "torch._dynamo" in sys.modules:  # importing it takes seconds
        torch.compiler.reset()


def _has_own_kernels() -> bool:
    return TAG in config.cache_key_tag
