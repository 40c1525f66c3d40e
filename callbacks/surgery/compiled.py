"""Compiled backward passes that run once per task."""

import sys

import torch
from torch import _functorch

TAG = "backward passes that run again"


def let_passes_run_again() -> None:
    """Has what is compiled keep what its backward pass needs, in this process and from now on.

    A compiled backward pass works in the buffers that were saved for it, and so runs once, if nothing is said: run
    again, it gives zeros without a word (torch 2.13). What was compiled before in this process is compiled anew. So are
    kernels that torch finds on disk, as they don't tell which of the two they are: ours have names of their own.
    """
    if not _functorch.config.donated_buffer:
        return
    _functorch.config.donated_buffer = False
    config = getattr(torch.compiler, "config", None)
    if config is not None and hasattr(config, "cache_key_tag"):
        config.cache_key_tag += TAG
    else:  # before torch 2.7
        torch._inductor.config.force_disable_caches = True
    if "torch._dynamo" in sys.modules:  # importing it takes seconds
        torch.compiler.reset()
