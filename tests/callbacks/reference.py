"""The dense reference of gradient surgery: every task's gradient of every parameter, by plain autograd."""

from collections.abc import Callable, Iterable, Mapping

import torch
from foreign import Batch, Foreign
from torch import Tensor, nn

Rule = Callable[[Tensor], Tensor]
TABLES = (nn.Embedding, nn.EmbeddingBag)


def jacobian(losses: Tensor, parameters: Mapping[str, Tensor]) -> dict[str, list[Tensor | None]]:
    """By name: the gradient of every loss, None where it has none. (An entry of a vector reaches all heads, with 0.)"""
    rows = [
        torch.autograd.grad(loss, list(parameters.values()), retain_graph=True, allow_unused=True)
        if loss.requires_grad
        else [None] * len(parameters)
        for loss in losses
    ]
    return {
        name: [None if g is None or not g.to_dense().any() else g.to_dense() for g in (row[i] for row in rows)]
        for i, name in enumerate(parameters)
    }


def expected(
    found: Mapping[str, list[Tensor | None]],
    parameters: Mapping[str, Tensor],
    tables: Iterable[str],
    rule: Rule,
    level: str,
) -> dict[str, Tensor]:
    """What `.grad` must be. Tasks share what two of them or more reach."""
    result: dict[str, Tensor] = {}
    shared: dict[str, Tensor] = {}
    for name, gradients in found.items():
        there = [g for g in gradients if g is not None]
        if len(there) == 1:
            result[name] = there[0]
        elif there:
            zero = torch.zeros_like(parameters[name])
            shared[name] = torch.stack([zero if g is None else g for g in gradients])
    flat = {name: j.reshape(len(j), -1) for name, j in shared.items()}
    if level == "model" and shared:
        weights = rule(sum((j.double() @ j.double().T for j in flat.values()), torch.zeros(())))
        return result | {name: torch.einsum("t,t...->...", weights.to(j), j) for name, j in shared.items()}
    for name, j in shared.items():
        if level == "row" and name in tables:
            by_row = j.double().transpose(0, 1)
            weights = torch.stack([rule(r @ r.T) if r.any() else r.new_zeros(len(r)) for r in by_row])
            result[name] = torch.einsum("ut,tud->ud", weights.to(j), j)
        else:
            weights = rule(flat[name].double() @ flat[name].double().T)
            result[name] = torch.einsum("t,t...->...", weights.to(j), j)
    return result


def reference(module: Foreign, rule: Rule, level: str, data: Batch) -> dict[str, Tensor]:
    """Gradients that plain autograd and the rule give."""
    torch.manual_seed(3)
    parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
    found = jacobian(module.losses(data), parameters)
    tables = [f"{name}.weight" for name, m in module.named_modules() if isinstance(m, TABLES)]
    return expected(found, parameters, tables, rule, level)
