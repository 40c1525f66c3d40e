"""Numbers that the host has made, on their way to the device."""

import torch
from torch import Tensor


def sent(numbers: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on the device, without a wait for what the device still has to do.

    CUDA takes a copy of the host's memory before it goes on, so that the host may use it again. Apple's MPS does not.
    """
    return numbers.to(device, non_blocking=device.type != "mps")
