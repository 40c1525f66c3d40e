"""Optimisers for models with large embedding tables: dense weights fused, tables by touched row, one step for both."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mtlzoo.callbacks.equal_runs import firsts, starts

OptimizerName: TypeAlias = Literal["adam", "adamw", "adagrad", "sgd"]
DENSE: dict[str, type[Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adagrad": torch.optim.Adagrad,
    "sgd": torch.optim.SGD,
}


def dense_optimizer(name: OptimizerName, parameters: Sequence[Tensor], lr: float, weight_decay: float) -> Optimizer:
    """Torch's optimiser of that name, fused where torch has the kernel."""
    devices = {parameter.device.type for parameter in parameters}
    fused = devices == {"cpu"} or (devices == {"cuda"} and name != "adagrad")
    return DENSE[name](parameters, lr=lr, weight_decay=weight_decay, fused=fused)  # type: ignore[call-arg]


class RowOptimizer(Optimizer):
    """Adam, AdamW, Adagrad or SGD on the rows that a sparse gradient touches; other rows and their state stay.

    Rows in every batch move exactly as under torch's dense optimiser of that name; rows that are absent from a batch
    differ, because a dense Adam goes on moving them by their momentum (the same choice as `torch.optim.SparseAdam`,
    which has no decay and made a step of the embedding 1.4 to 1.5 times as long: benchmarks/embedding.py). Bias
    correction counts all steps, and decay, too, acts on touched rows only.

    Args:
        params: Tables, [rows, dim], with sparse gradients.
        algorithm: Name of the update rule.
        lr: Learning rate.
        weight_decay: ``adamw``: decoupled; others: added to the gradient.
        betas: Of ``adam`` and ``adamw``.
        eps: Added to the root of the second moment.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        algorithm: OptimizerName = "adam",
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float | None = None,
    ) -> None:
        if eps is None:  # torch's defaults
            eps = 1e-10 if algorithm == "adagrad" else 1e-8
        super().__init__(
            params, {"lr": lr, "weight_decay": weight_decay, "betas": betas, "eps": eps, "algorithm": algorithm}
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates the rows that the gradients hold."""
        result = closure() if closure is not None else None
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    self._update(table, *row_sums(table.grad), group)
        return result

    def _update(self, table: Tensor, rows: Tensor, g: Tensor, group: dict[str, Any]) -> None:
        algorithm, lr, decay = group["algorithm"], group["lr"], group["weight_decay"]
        state = self.state[table]
        state["step"] = state.get("step", 0) + 1
        w = table.index_select(0, rows)
        if decay and algorithm != "adamw":
            g = g.add(w, alpha=decay)
        elif decay:
            w.mul_(1 - lr * decay)
        if algorithm == "sgd":
            w.sub_(g, alpha=lr)
        elif algorithm == "adagrad":
            total = self._moment(table, "sum", rows).addcmul_(g, g)
            state["sum"].index_copy_(0, rows, total)
            w.addcdiv_(g, total.sqrt_().add_(group["eps"]), value=-lr)
        else:
            beta1, beta2 = group["betas"]
            mean = self._moment(table, "exp_avg", rows).lerp_(g, 1 - beta1)
            square = self._moment(table, "exp_avg_sq", rows).mul_(beta2).addcmul_(g, g, value=1 - beta2)
            state["exp_avg"].index_copy_(0, rows, mean)
            state["exp_avg_sq"].index_copy_(0, rows, square)
            root = square.sqrt_().div_((1 - beta2 ** state["step"]) ** 0.5).add_(group["eps"])
            w.addcdiv_(mean, root, value=-lr / (1 - beta1 ** state["step"]))
        table.index_copy_(0, rows, w)

    def _moment(self, table: Tensor, name: str, rows: Tensor) -> Tensor:
        if name not in self.state[table]:
            self.state[table][name] = torch.zeros_like(table)
        return self.state[table][name].index_select(0, rows)  # type: ignore[no-any-return]


def row_sums(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The rows that a sparse gradient [rows, dim] holds, ascending, and the sums of their entries.

    Each row comes once; on a GPU, where the host would have to wait for how many there are, as often as it has entries,
    each time with the whole sum: what is computed of a row is then computed, and written, several times alike.

    On a CPU a third to a half of the time of `Tensor.coalesce`: row numbers of 4 bytes sort twice as fast as those of
    8, and a bag sums each run of equal ones.
    """
    if gradient.is_coalesced():
        return gradient._indices()[0], gradient._values()
    rows = gradient._indices()[0]
    rows, order = (rows.int() if gradient.shape[0] < 2**31 else rows).sort(stable=True)
    first = firsts(rows)
    places = starts(first)
    sums = nn.functional.embedding_bag(order, gradient._values(), places, mode="sum")
    if gradient.device.type == "cpu":
        return rows[places].long(), sums
    return rows.long(), sums[first.cumsum(0) - 1]


def coalesce(gradient: Tensor) -> Tensor:
    """Sums the entries of one row; a gradient [rows, dim] that is coalesced already is returned as it is.

    On a GPU the sum stands in the row's first entry, and the others of the row are zero: see `row_sums`.
    """
    if gradient.is_coalesced():
        return gradient
    rows, sums = row_sums(gradient)
    once = gradient.device.type == "cpu"
    if not once:
        sums = torch.where(firsts(rows)[:, None], sums, 0)
    return torch.sparse_coo_tensor(rows[None], sums, gradient.shape, is_coalesced=once, check_invariants=False)


class Together(Optimizer):
    """Several optimisers as one: one step, one state, one count of steps, one verdict on overflow under fp16.

    Args:
        parts: The optimisers; their parameter groups are shared with this one, so schedules reach them.
    """

    def __init__(self, parts: list[Optimizer]) -> None:
        self.parts = parts
        super().__init__([group for part in parts for group in part.param_groups], {})
        # The base class copies the group dictionaries; a schedule must change the ones that the parts read.
        self._share()

    def _share(self) -> None:
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    @property  # an attribute in the base class
    def state(self) -> defaultdict[Tensor, Any]:
        """State of every parameter."""
        return defaultdict(dict, {tensor: state for part in self.parts for tensor, state in part.state.items()})

    @state.setter
    def state(self, value: Any) -> None:
        """The base class sets an empty one; the parts hold theirs."""

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Steps every part."""
        result = closure() if closure is not None else None
        for part in self.parts:
            part.step()
        return result

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clears the gradients of every part."""
        for part in self.parts:
            part.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """State of every part."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores every part."""
        if len(state_dict["parts"]) != len(self.parts):
            raise ValueError(
                f"Checkpoint of {len(state_dict['parts'])} optimisers, this model has {len(self.parts)}; "
                "resume with the same optimiser options."
            )
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share()


def clip_gradients(parameters: Iterable[Tensor], max_norm: float) -> Tensor:
    """Scales all gradients, dense and sparse, so that their joint L2 norm is at most `max_norm`.

    Args:
        parameters: Tensors with gradients; sparse gradients are coalesced first, which their norm needs.
        max_norm: Largest norm, > 0.

    Returns:
        The norm before, without a wait for the device. A norm that is not finite leaves the gradients as they are.
    """
    gradients: list[Tensor] = []
    for parameter in parameters:
        if parameter.grad is None:
            continue
        if parameter.grad.is_sparse:
            parameter.grad = coalesce(parameter.grad)
            gradients.append(parameter.grad._values())
        else:
            gradients.append(parameter.grad)
    if not gradients:
        return torch.zeros(())
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    factor = torch.where(norm.isfinite(), (max_norm / (norm + 1e-6)).clamp(max=1.0), 1.0)
    torch._foreach_mul_(gradients, factor)
    return norm
