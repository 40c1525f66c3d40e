"""From a checkpoint file to a model, whatever its class."""

import importlib
import inspect
import os
from typing import Any

import torch

from mtlzoo.module import MultiTaskModule


def load(path: str | os.PathLike[str], map_location: Any = "cpu", **changes: Any) -> MultiTaskModule:
    """The model of a checkpoint, of the class that was saved, ready to predict.

    Args:
        path: Checkpoint written by a Trainer.
        map_location: Device of the weights.
        **changes: Constructor arguments that replace the saved ones.

    Returns:
        The model in evaluation mode.

    Raises:
        ValueError: The file is no checkpoint of an mtlzoo model, or its class can't be imported.
    """
    checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    if not isinstance(checkpoint, dict) or "mtlzoo" not in checkpoint:
        raise ValueError(
            f"{path} is not a checkpoint of an mtlzoo model: it has no entry 'mtlzoo'. Load it with its own class."
        )
    where = checkpoint["mtlzoo"]
    try:
        kind: Any = importlib.import_module(where["module"])
        for name in where["class"].split("."):
            kind = getattr(kind, name)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"{path} holds a {where['module']}.{where['class']}, which can't be imported: {error}. "
            "Install the package that defines it, or import it first."
        ) from error
    if not (isinstance(kind, type) and issubclass(kind, MultiTaskModule)):
        raise ValueError(f"{path} names {where['module']}.{where['class']}, which is not a MultiTaskModule.")
    options = {name: value for name, value in checkpoint["hyper_parameters"].items() if not name.startswith("_")}
    accepted = inspect.signature(kind).parameters
    if all(parameter.kind is not inspect.Parameter.VAR_KEYWORD for parameter in accepted.values()):
        options = {name: value for name, value in options.items() if name in accepted}  # the others it sets by itself
    model = kind(**{**options, **changes})
    model.load_state_dict(checkpoint["state_dict"])
    return model.to(map_location).eval()
