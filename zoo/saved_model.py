"""From what a file says of a model to the model, whatever its class; nothing is imported because a file says so."""

import inspect
import os
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import torch

import mtlzoo
from mtlzoo.schema import FeatureSchema
from mtlzoo.training.identity import DATA
from mtlzoo.training.resumable import ResumableModule

Model = TypeVar("Model", bound=ResumableModule)


def make(
    saved: Mapping[str, Any],
    path: str | os.PathLike[str],
    base: type[Model],
    map_location: Any = "cpu",
    model: type[Model] | None = None,
    **changes: Any,
) -> Model:
    """The model of the entries of a checkpoint, in evaluation mode.

    Args:
        saved: Class, options, weights and what is noted of the data, as `is_whole` demands.
        path: Where they are from, for messages.
        base: What the class must derive from.
        map_location: Device of the weights.
        model: The class, where the file names one that this process does not know.
        **changes: Constructor arguments that replace the saved ones.

    Raises:
        ValueError: A class that is not known, or options or weights that are not its own.
    """
    kind = model or find_class(saved, path, base)
    options = {name: value for name, value in saved["hyper_parameters"].items() if not name.startswith("_")}
    accepted = inspect.signature(kind).parameters
    if all(parameter.kind is not inspect.Parameter.VAR_KEYWORD for parameter in accepted.values()):
        options = {name: value for name, value in options.items() if name in accepted}  # the others it sets by itself
    try:
        made = kind(**{**options, **changes})
    except (TypeError, ValueError, LookupError, RuntimeError) as error:
        raise ValueError(f"{path}: {kind.__name__} can't be made of its options: {error}") from error
    try:
        made.load_state_dict(saved["state_dict"])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    made.trained_on = saved.get(DATA)
    return made.to(map_location).eval()


def find_class(saved: Mapping[str, Any], path: str | os.PathLike[str], base: type[Model]) -> type[Model]:
    """The class of a saved model; imports nothing that the file names, and looks at no attribute of it.

    Raises:
        ValueError: No public model of `mtlzoo`, and none that this process has imported; or not the one asked for.
    """
    module, name = str(saved["mtlzoo"]["module"]), str(saved["mtlzoo"]["class"])
    found: Any
    if name in mtlzoo._HOMES and module in ("mtlzoo", f"mtlzoo.{mtlzoo._HOMES[name]}"):
        found = getattr(mtlzoo, name)
    else:
        # The last, as a notebook defines a class again and again.
        known = [kind for kind in _derived(ResumableModule) if (kind.__module__, kind.__qualname__) == (module, name)]
        found = known[-1] if known else None
    if not (isinstance(found, type) and issubclass(found, ResumableModule)) or inspect.isabstract(found):
        raise ValueError(
            f"{path} holds a {module}.{name}, which is no model of mtlzoo and none that this process has imported; "
            "what a file names is not imported. If you trust it, import it first or give the class: mtlzoo.load(path, "
            f"model={name.rpartition('.')[2]}); on the command line --model {module}.{name}, or -c RUN/config.yaml."
        )
    if not issubclass(found, base):
        raise ValueError(f"{path} holds a {name}, which is no {base.__name__}. Ask for that, or for mtlzoo.load(path).")
    return found


def _derived(base: Any) -> Iterator[Any]:
    for kind in base.__subclasses__():
        yield kind
        yield from _derived(kind)


def is_whole(saved: Mapping[str, Any]) -> bool:
    """Whether it has class, options and weights of a model, and what is noted of its data is a note."""
    who, options, weights, data = (saved.get(part, {}) for part in ("mtlzoo", "hyper_parameters", "state_dict", DATA))
    if not all(isinstance(part, Mapping) for part in (who, options, weights, data)):
        return False
    if not {"module", "class"} <= set(who) or (DATA in saved and not {"vocabulary", "fingerprint"} <= set(data)):
        return False
    try:
        FeatureSchema.from_dict(options["schema"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return False
    named = (isinstance(name, str) and isinstance(weight, torch.Tensor) for name, weight in weights.items())
    return "state_dict" in saved and all(named)
