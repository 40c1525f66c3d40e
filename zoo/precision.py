"""Half precision is for the network: labels, weights, counts, and what losses and metrics are made of stay single.

Lightning's ``precision="bf16-true"`` and ``"16-true"`` convert the module and every float of a batch. In 8 bits class
257 is 256 and 123,456 is 123,392; a count above 65,504 is infinite in float16.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    import lightning as L

HALF = (torch.float16, torch.bfloat16)
EXACT = ("labels", "weight")
"""Columns of a batch that are never rounded; numbers of features may be."""


def single(values: Tensor) -> Tensor:
    """Float32 in place of half precision; other types as they are."""
    return values.float() if values.dtype in HALF else values


class _ExactInput:
    """What a precision plugin makes of a batch, but for the columns that are never rounded."""

    def __init__(self, convert: Callable[[Any], Any], module: "L.LightningModule") -> None:
        self.convert = convert
        self.module = module
        self.trainer = module.trainer

    def __call__(self, data: Any) -> Any:
        converted = self.convert(data)
        # A trainer that ended by an error has given nothing back, and may train something else.
        if self.trainer.lightning_module is not self.module or not isinstance(data, Mapping):
            return converted
        rounded = [name for name in EXACT if name in data and converted[name].itemsize < data[name].itemsize]
        return {**converted, **{name: data[name] for name in rounded}} if rounded else converted


def keep_exact(module: "L.LightningModule") -> None:
    """Takes over what the trainer's precision plugin does with batches: no hook of a module comes before it."""
    give_back(module)
    plugin = module.trainer.precision_plugin
    plugin.convert_input = _ExactInput(plugin.convert_input, module)  # type: ignore[method-assign]


def give_back(module: "L.LightningModule") -> None:
    """Ends what `keep_exact` began."""
    plugin = module.trainer.precision_plugin
    if isinstance(plugin.convert_input, _ExactInput):
        plugin.convert_input = plugin.convert_input.convert  # type: ignore[method-assign, assignment]
