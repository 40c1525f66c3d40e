"""In which forms a module may hand over the losses of its tasks, and the vector that all of them become."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

HOW = (
    "Hand over one loss per task: `return {'loss': torch.stack([loss_a, loss_b])}` from training_step, or "
    "`{'loss': loss_a + loss_b, 'losses': {'a': loss_a, 'b': loss_b}}` where others want a number, or "
    "`self.manual_backward(torch.stack([loss_a, loss_b]))` in manual optimisation."
)


def stacked(owner: str, losses: Any) -> tuple[Any, list[str] | None]:
    """A dictionary or list of losses as a vector [T], and the names in the dictionary; anything else as it is.

    Args:
        owner: Name of the callback, for messages.
        losses: What the module gave.

    Raises:
        ValueError: A loss that is not one number, or none at all.
    """
    if isinstance(losses, Mapping):
        names, parts = [str(name) for name in losses], list(losses.values())
    elif isinstance(losses, Sequence) and not isinstance(losses, str):
        names, parts = None, list(losses)
    else:
        return losses, None
    said = names or [str(place) for place in range(len(parts))]
    for name, part in zip(said, parts, strict=True):
        if not isinstance(part, Tensor | int | float) or (isinstance(part, Tensor) and part.numel() != 1):
            found = f"the shape {tuple(part.shape)}" if isinstance(part, Tensor) else type(part).__name__
            raise ValueError(f"{owner}: the loss {name!r} must be one number; found {found}. Take its mean. {HOW}")
    like = next((part for part in parts if isinstance(part, Tensor)), None)
    if like is None:
        raise ValueError(f"{owner}: found no losses in {type(losses).__name__} {losses!r}. {HOW}")
    device = like.device
    return torch.stack([torch.as_tensor(part, device=device).reshape(()) for part in parts]), names


def check_losses(owner: str, losses: Any, arguments: Mapping[str, Any]) -> None:
    """Refuses what is not a vector of several tasks' losses, or a backward pass that is not an ordinary one.

    Args:
        owner: Name of the callback, for messages.
        losses: What should be [T].
        arguments: Of `backward`, beside them.

    Raises:
        ValueError: What was found, and what is allowed.
    """
    if not isinstance(losses, Tensor) or losses.dim() != 1:
        found = f"the shape {tuple(losses.shape)}" if isinstance(losses, Tensor) else type(losses).__name__
        raise ValueError(f"{owner} needs the losses of all tasks, a vector [T]; found {found}. {HOW}")
    if len(losses) < 2:
        raise ValueError(f"{owner} needs two tasks or more; found T = 1. Take the callback out. {HOW}")
    wrong = [key for key, value in arguments.items() if key != "retain_graph" and value]
    if wrong:
        raise ValueError(f"{owner}: backward({', '.join(wrong)}=...) is not supported; allowed is retain_graph.")


def arranged(owner: str, losses: Tensor, names: Sequence[str], order: Sequence[str], *, missing: bool) -> Tensor:
    """Losses by name in the order of the tasks.

    Args:
        owner: Name of the callback, for messages.
        losses: [n].
        names: Of the losses.
        order: Names of all tasks.
        missing: Whether tasks may be missing: their loss is then 0, and hangs on no parameter.

    Returns:
        [T].

    Raises:
        ValueError: Tasks that are not known, or missing.
    """
    if list(names) == list(order):
        return losses
    strange = [name for name in names if name not in order]
    absent = [name for name in order if name not in names]
    if strange or (absent and not missing):
        raise ValueError(
            f"{owner}: losses named {list(names)} where the tasks are {list(order)}. Give all of them in every step, "
            f"a task without rows a loss of 0, or name all tasks once: {owner}(..., tasks={[*order, *strange]}); then "
            "those that are missing in a step count as not observed."
        )
    by_name = dict(zip(names, losses.unbind(), strict=True))
    return torch.stack([by_name[name] if name in by_name else losses.new_zeros(()) for name in order])


def check_beside(loss: float, losses: Sequence[float]) -> None:
    """Warns where the number beside the losses is not their sum: what only it has does not train."""
    if abs(loss - sum(losses)) > 1e-3 * (abs(loss) + sum(map(abs, losses))):
        rank_zero_warn(
            f"GradientSurgery: 'loss' is {loss:.4g}, and 'losses' are {sum(losses):.4g} together. The rule works on "
            "'losses' alone: weights of the tasks and regularisers belong into them, or they don't train."
        )


def task_names(module: Any) -> list[str] | None:
    """What a module calls its tasks: its `task_names`, an attribute or a method; None where it has none."""
    names = getattr(module, "task_names", None)
    names = names() if callable(names) else names
    if isinstance(names, str) or not isinstance(names, Sequence) or not names:
        return None
    return [str(name) for name in names]
