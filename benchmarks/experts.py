"""One nn.Linear per expert, or all experts in one product? Forward, backward and Adam(fused=True).

    python benchmarks/experts.py [--seconds 15] [--batch_size 4096]

Ways of computing E experts (each an MLP on the same input) and the mixtures of T gates:

* loop      the E experts one after the other, each a stack of nn.Linear
* batched   weights [E, in, out], one baddbmm per layer for all experts
* first     the first layer of all experts as one nn.Linear, the others as in `batched`

and of mixing the experts' outputs by the gates:

* each      stack and bmm, once per task
* once      stack once, one bmm for all tasks
* sum       sum of weight * output over the experts, per task
"""

import argparse
from collections.abc import Callable, Sequence

import torch
from interleave import busy, in_turn
from report import show, write
from torch import Tensor, nn

from mtlzoo.layers import MLP

INPUTS, EXPERTS, TASKS = 544, 8, 3
SIZES = {"512-512-512": (512, 512, 512), "256-128": (256, 128)}


class Loop(nn.Module):
    """[B, inputs] -> E tensors [B, H]."""

    def __init__(self, units: Sequence[int]) -> None:
        super().__init__()
        self.experts = nn.ModuleList(MLP(INPUTS, units) for _ in range(EXPERTS))

    def forward(self, x: Tensor) -> Sequence[Tensor]:
        """All experts."""
        return [expert(x) for expert in self.experts]


class Batched(nn.Module):
    """[B, inputs] -> [E, B, H], one baddbmm per layer."""

    def __init__(self, units: Sequence[int], first: bool = False) -> None:
        super().__init__()
        widths = [INPUTS, *units]
        self.first = nn.Linear(INPUTS, EXPERTS * units[0]) if first else None
        shapes = list(zip(widths, units, strict=False))[first:]
        self.weights = nn.ParameterList(torch.randn(EXPERTS, i, o) * (2 / (i + o)) ** 0.5 for i, o in shapes)
        self.biases = nn.ParameterList(torch.zeros(EXPERTS, 1, o) for _, o in shapes)

    def forward(self, x: Tensor) -> Sequence[Tensor]:
        """All experts."""
        if self.first is None:
            h = x.expand(EXPERTS, -1, -1)
        else:
            h = self.first(x).relu().unflatten(1, (EXPERTS, -1)).transpose(0, 1)
        for weight, bias in zip(self.weights, self.biases, strict=True):
            h = torch.baddbmm(bias, h, weight).relu()
        return h  # type: ignore[return-value]  # a tensor is a sequence of its experts


def mix_each(gates: Tensor, experts: Sequence[Tensor]) -> Tensor:
    """Gates [T, B, E], experts [B, H] each -> [T, B, H]."""
    mixed = [torch.bmm(g.unsqueeze(1), torch.stack(list(experts), 1)).squeeze(1) for g in gates]
    return torch.stack(mixed)


def mix_once(gates: Tensor, experts: Sequence[Tensor]) -> Tensor:
    """As `mix_each`."""
    return torch.bmm(gates.transpose(0, 1), torch.stack(list(experts), 1)).transpose(0, 1)


def mix_sum(gates: Tensor, experts: Sequence[Tensor]) -> Tensor:
    """As `mix_each`."""
    return torch.stack([sum(w * h for w, h in zip(g.unsqueeze(-1).unbind(1), experts, strict=True)) for g in gates])


MIXES = {"each": mix_each, "once": mix_once, "sum": mix_sum}


def layer_step(network: nn.Module, x: Tensor, gates: Tensor) -> Callable[[], None]:
    """One training step of experts, mixed `once`."""
    optimizer = torch.optim.Adam(network.parameters(), fused=True)

    def step() -> None:
        optimizer.zero_grad()
        x.grad = None
        mix_once(gates, network(x)).square().mean().backward()
        optimizer.step()

    return step


def mix_step(
    mix: Callable[[Tensor, Sequence[Tensor]], Tensor], gates: Tensor, experts: list[Tensor]
) -> Callable[[], None]:
    """Forward and backward of a mixture alone."""

    def step() -> None:
        for leaf in (gates, *experts):
            leaf.grad = None
        mix(gates, experts).square().mean().backward()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--batch_size", type=int, default=4096)
    parser.add_argument("--seconds", type=float, default=15.0, help="per comparison")
    parser.add_argument("--busy", action="store_true", help="one thread and its CPU time, for a shared machine")
    options = parser.parse_args()
    busy(options.busy)
    torch.manual_seed(0)
    rows = []
    for device in ("cpu", *(["cuda"] if torch.cuda.is_available() else [])):
        for name, units in SIZES.items():
            x = torch.randn(options.batch_size, INPUTS, device=device, requires_grad=True)
            gates = torch.randn(TASKS, options.batch_size, EXPERTS, device=device).softmax(-1).requires_grad_()
            networks = {"loop": Loop(units), "batched": Batched(units), "first": Batched(units, first=True)}
            times = in_turn({n: layer_step(m.to(device), x, gates) for n, m in networks.items()}, options.seconds)
            rows += table(device, name, "experts", "loop", times, options.batch_size)
            outputs = [
                torch.randn(options.batch_size, units[-1], device=device, requires_grad=True) for _ in range(EXPERTS)
            ]
            times = in_turn({n: mix_step(m, gates, outputs) for n, m in MIXES.items()}, options.seconds / 3)
            rows += table(device, name, "mix", "each", times, options.batch_size)
    show(f"{EXPERTS} experts on {INPUTS} inputs, {TASKS} gates, batch {options.batch_size}", rows)
    write("experts", vars(options), rows)


def table(
    device: str, size: str, part: str, base: str, times: dict[str, float], batch_size: int
) -> list[dict[str, object]]:
    """Rows of the result."""
    return [
        {
            "device": device,
            "units": size,
            "part": part,
            "way": way,
            "ms": 1e3 * seconds,
            "rows/s": batch_size / seconds,
            f"times as fast as {'loop / each'}": times[base] / seconds,
        }
        for way, seconds in times.items()
    ]


if __name__ == "__main__":
    main()
