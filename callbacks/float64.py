"""Losses, Gramians and metrics are added up in float64, which not every device has."""

from typing import Any

import torch

_HAVE_IT = ("cpu", "cuda")
"""Devices that are not asked: CUDA would begin in a process that is still to be forked."""


def check_float64(owner: str, trainer: Any) -> None:
    """Refuses a device without float64, before anything lies there: Apple's MPS, some of Intel's GPUs.

    Args:
        owner: Who needs it, for the message.
        trainer: Of `lightning` or `pytorch_lightning`.

    Raises:
        ValueError: With the remedy.
    """
    device: torch.device = trainer.strategy.root_device
    if device.type in _HAVE_IT:
        return
    try:
        torch.zeros(1, dtype=torch.float64, device=device)
    except (TypeError, RuntimeError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{owner} adds up in float64, which {device.type!r} does not have ({said}); a Trainer that is told nothing "
            "takes what it finds. Take the CPU: Trainer(accelerator='cpu'), on the command line --trainer.accelerator "
            "cpu."
        ) from None
