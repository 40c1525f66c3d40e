"""Building blocks of the networks: multi-layer perceptron, experts, gate."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from mtlzoo.tasks import Task

Activation: TypeAlias = Literal["relu", "gelu", "silu", "tanh", "leaky_relu", "prelu"]
_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "leaky_relu": nn.LeakyReLU,
    "prelu": nn.PReLU,
}


SIZES = ("embedding_dim", "experts", "task_experts", "shared_experts", "levels", "layers")
"""Options of models that count something; those that end in ``units`` are widths of layers."""


def check_sizes(who: str, options: Mapping[str, Any]) -> None:
    """Refuses counts and widths that are no network; torch builds some of them, and others fail far from here.

    Args:
        who: The model, for the message.
        options: Of the model, by name; others than sizes are not looked at.

    Raises:
        ValueError: With what was found and what is allowed.
    """
    for name, found in options.items():
        if name not in SIZES and not name.endswith("units"):
            continue
        least = 0 if name == "shared_experts" else 1
        numbers = list(found) if isinstance(found, Sequence) else [found]
        if name == "expert_units" and not numbers:
            raise ValueError(f"{who}: expert_units={found!r}; allowed is one layer or more.")
        if not all(isinstance(number, int) and number >= least for number in numbers):
            raise ValueError(f"{who}: {name}={found!r}; allowed are whole numbers >= {least}.")


def module_keys(names: Iterable[str]) -> dict[str, str]:
    """A key of `nn.ModuleDict` for each name: the name itself, but where that has a dot or is a method's.

    ``items`` becomes ``items%`` and ``a.b`` becomes ``a%b%``, with as many ``%`` as tell it from the others.
    """
    names = list(names)
    taken = nn.ModuleDict()
    keys = {name: name for name in names if name and "." not in name and not hasattr(taken, name)}
    for name in names:
        key = keys.get(name, name.replace(".", "%"))
        while name not in keys and (key in keys.values() or key == name or not key):
            key += "%"
        keys[name] = key
    return keys


def demand(holds: Tensor, message: str) -> None:
    """Refuses what a batch holds without a wait for a device: a CPU raises at once, a GPU when it gets there.

    Raises:
        RuntimeError: `holds` is false.
    """
    if holds.device.type != "cpu" or torch.compiler.is_compiling():
        torch._assert_async(holds, message)
    elif not holds:
        raise RuntimeError(message)


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation that takes the running statistics where a batch has no variance (fewer than two rows)."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalises [B, D]."""
        if self.training and x.shape[0] < 2:
            return nn.functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(x)


class MLP(nn.Sequential):
    """Linear, batch norm, activation and dropout per hidden layer; then one plain Linear if `outputs` is given.

    Weights are Xavier normal (gain 1) and biases 0, as in FuxiCTR and the STEM repository (AAAI 2024).

    Args:
        inputs: Width of the input.
        units: Widths of the hidden layers.
        outputs: Width of the last Linear, which has no activation; None ends with the last hidden layer.
        activation: Of the hidden layers.
        dropout: Probability, after each activation.
        batch_norm: Normalise before each activation.
        bias: Whether the last Linear has one.

    Shape: [B, inputs] -> [B, width].
    """

    def __init__(
        self,
        inputs: int,
        units: Sequence[int],
        outputs: int | None = None,
        *,
        activation: Activation = "relu",
        dropout: float = 0.0,
        batch_norm: bool = False,
        bias: bool = True,
    ) -> None:
        layers: list[nn.Module] = []
        for width in units:
            layers.append(nn.Linear(inputs, width))
            if batch_norm:
                layers.append(BatchNorm(width))
            layers.append(_ACTIVATIONS[activation]())
            if dropout:
                layers.append(nn.Dropout(dropout))
            inputs = width
        if outputs is not None:
            layers.append(nn.Linear(inputs, outputs, bias=bias))
            inputs = outputs
        super().__init__(*layers)
        self.width = inputs
        for layer in layers:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_normal_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)


def mix(gate: Tensor, experts: Tensor) -> Tensor:
    """Weighted sum of experts: gate [B, E], experts [B, E, H] -> [B, H]."""
    return torch.bmm(gate.unsqueeze(1), experts).squeeze(1)


class Gate(nn.Module):
    """Softmax weights over experts: ``softmax(MLP(x))``.

    Args:
        inputs: Width of the input.
        experts: Number of experts weighed.
        units: Hidden layers; none in the papers of MMoE and PLE, [128, 64] in the STEM repository.
        bias: Of the last Linear; none in the papers.
        activation: Of the hidden layers.

    Shape: [B, inputs] -> [B, experts].
    """

    def __init__(
        self,
        inputs: int,
        experts: int,
        units: Sequence[int] = (),
        *,
        bias: bool = False,
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        self.mlp = MLP(inputs, units, experts, bias=bias, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        """Weights of every row."""
        return self.mlp(x).softmax(-1)  # type: ignore[no-any-return]  # Sequential is untyped


def expert_names(tasks: Sequence[str], task_experts: int, shared_experts: int) -> list[list[str]]:
    """Names of the experts that each task has for itself, and last of those that all share."""
    streams = [*((task, task_experts) for task in tasks), ("shared", shared_experts)]
    return [[f"{name}_{k}" for k in range(number)] for name, number in streams]


class Towers(nn.ModuleList):
    """The last network of every task.

    Args:
        tasks: Tasks, in the schema's order.
        inputs: Width of every stream.
        units: Hidden layers of each tower; a Linear to the task's outputs follows.
        **hidden: Activation, dropout and batch norm of `MLP`.

    Shape: one [B, inputs] per task -> by task name [B], or [B, classes].
    """

    def __init__(self, tasks: Sequence[Task], inputs: int, units: Sequence[int], **hidden: Any) -> None:
        super().__init__(MLP(inputs, units, task.outputs, **hidden) for task in tasks)
        self.names = [task.name for task in tasks]

    def forward(self, streams: Sequence[Tensor]) -> dict[str, Tensor]:
        """Logits of every task."""
        return {name: tower(x).squeeze(-1) for name, tower, x in zip(self.names, self, streams, strict=True)}
