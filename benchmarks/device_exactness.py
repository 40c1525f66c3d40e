"""Section `exactness` of benchmarks/device.py: trainings on the device end where they end on the CPU in float64.

A difference is the largest of a parameter, divided by the largest way that the training moved one. Draws are made on
the CPU, so that random rules draw the same on every device.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import surgery
import torch
import torch.distributed as dist
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor
from torch.utils.data import DataLoader

from mtlzoo import MMoE
from mtlzoo.callbacks import GradientSurgery, LossBalancing, rules
from mtlzoo.callbacks.rules import GradientRule, GramianRule, LossRule

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read at the first product of a process
LIMITS = {"64-true": 1e-9, "32-true": 1e-3, "bf16-mixed": 0.1, "16-mixed": 0.1}
"""Differences by precision."""
TASKS, ROWS, BATCH, STEPS = 3, 400, 64, 2
ARGUMENTS: dict[str, Any] = {"Fixed": [0.5, 1.0, 2.0], "FixedWeights": [0.5, 1.0, 2.0], "PCGrad": "fixed"}
DOUBLE = ("GradDrop",)
"""Rules that draw a number for each coordinate, in its precision: in another one they do something else."""
DENSE = ("MoCo",)
"""Rules that keep something for every row of a table, and so refuse sparse ones."""
LEVELS = ("model", "parameter", "row")
TOY = Path(__file__).resolve().parents[1] / "tests" / "zoo"
"""Where the rows are that the suite trains zoo models on."""
QUICK = ("Fixed", "PCGrad", "MoCo", "UW")
QUIET: dict[str, Any] = dict.fromkeys(
    ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
)
LAUNCHED = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")
State = dict[str, Tensor]


class Module(surgery.Module):
    """As surgery is measured with; FAMO looks at a batch twice."""

    def task_losses(self, batch: list[Tensor]) -> Tensor:
        """The losses again."""
        return torch.stack(self.losses(*batch))


def cases(device: str, quick: bool, folder: Path) -> dict[str, Callable[[], dict[str, Any]]]:
    """What is beside rules, then every rule that there is."""
    found: dict[str, Callable[[], dict[str, Any]]] = {}
    for sparse in (False, True):
        kind = "sparse" if sparse else "dense"
        found[f"resumed, {kind}"] = partial(resumed, sparse, device)
        found[f"deterministic, {kind}"] = partial(repeated, sparse, True, device)
        if not quick:
            found[f"by itself twice, {kind}"] = partial(repeated, sparse, False, device)
    for level in LEVELS[2:] if quick else LEVELS:
        found[f"one process by DDP, {level}"] = partial(by_ddp, level, device)
        for precision in ("bf16-mixed", "16-mixed"):
            found[f"{precision}, {level}"] = partial(of_precision, precision, level, device)
    bases = (GramianRule, GradientRule, LossRule)
    kinds = {name: kind for name in rules.__all__ if (kind := getattr(rules, name)) not in bases}
    return found | {name: partial(of_rule, kind, device) for name, kind in kinds.items() if not quick or name in QUICK}


def built(kind: type[Any]) -> Any:
    """A rule, with arguments where its defaults won't do."""
    return kind(*([ARGUMENTS[kind.__name__]] if kind.__name__ in ARGUMENTS else []))


def of_rule(kind: type[Any], device: str) -> dict[str, Any]:
    """One rule at each of its levels, in both precisions that GPUs compute in."""
    if issubclass(kind, LossRule):
        makes: dict[str, Callable[[], L.Callback]] = {"losses": lambda: LossBalancing(built(kind))}
    else:
        levels = ("model",) if getattr(kind, "whole", False) else LEVELS
        makes = {level: partial(_surgery, kind, level) for level in levels}
    found = {}
    for level, make in makes.items():
        wanted = trained(make(), "cpu", "64-true")
        for precision in ("64-true",) if kind.__name__ in DOUBLE else ("64-true", "32-true"):
            found[f"{level} {precision}"] = apart(wanted, trained(make(), device, precision))
    return judged(found)


def of_precision(precision: str, level: str, device: str) -> dict[str, Any]:
    """PCGrad with half of the numbers' digits."""
    wanted = trained(_surgery(rules.PCGrad, level), "cpu", "64-true")
    return judged({precision: apart(wanted, trained(_surgery(rules.PCGrad, level), device, precision))})


def by_ddp(level: str, device: str) -> dict[str, Any]:
    """In a group of one process, by NCCL on a GPU."""
    backend = "nccl" if device == "cuda" else "gloo"
    before = {name: os.environ.get(name) for name in LAUNCHED}
    wanted = trained(_surgery(rules.PCGrad, level), "cpu", "64-true")
    try:
        strategy = DDPStrategy(process_group_backend=backend)
        got = trained(_surgery(rules.PCGrad, level), device, "64-true", strategy=strategy)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({} if value is None else {name: value})
    return {"backend": backend} | judged({"64-true": apart(wanted, got)})


def _surgery(kind: type[Any], level: Any) -> L.Callback:
    return GradientSurgery(built(kind), level=level)


def trained(callback: L.Callback, device: str, precision: Any, **options: Any) -> tuple[State, State]:
    """The parameters before and after a training, in float64 on the CPU."""
    torch.manual_seed(0)
    dense = type(getattr(callback, "rule", None)).__name__ in DENSE
    module = Module(TASKS, surgery.TABLES * ROWS, sparse=not dense)
    start = _parameters(module)
    ids = [torch.randint(0, ROWS, (BATCH, surgery.TABLES)) for _ in range(STEPS)]
    batches = [(one, torch.rand(BATCH, TASKS).round()) for one in ids]
    if precision == "64-true":
        batches = [(one, labels.double()) for one, labels in batches]
    trainer = L.Trainer(
        **QUIET,
        accelerator=device,
        devices=1,
        max_epochs=1,
        precision=precision,
        use_distributed_sampler=False,  # which would shuffle
        callbacks=[callback],
        **options,
    )
    trainer.fit(module, DataLoader(batches, batch_size=None))  # type: ignore[arg-type]
    return start, _parameters(module)


def _parameters(module: torch.nn.Module) -> State:
    return {name: p.detach().double().cpu().clone() for name, p in module.named_parameters()}


def apart(wanted: tuple[State, State], got: tuple[State, State]) -> float:
    """How far two trainings from one start ended from each other, measured by how far the first one went."""
    start, end = wanted
    moved = max(float((end[name] - start[name]).abs().max()) for name in end)
    return max(float((end[name] - got[1][name]).abs().nan_to_num(torch.inf).max()) for name in end) / moved


def judged(found: Mapping[str, float]) -> dict[str, Any]:
    """What was found, as a failure where it is beyond the limit of its precision."""
    beyond = {name: value for name, value in found.items() if not value <= LIMITS[name.split()[-1]]}
    return {**found, **({"failed": f"beyond the limit {LIMITS}: {beyond}"} if beyond else {})}


def resumed(sparse: bool, device: str) -> dict[str, Any]:
    """A training of a zoo model with surgery that stops in the middle of an epoch and goes on, bit by bit."""
    with tempfile.TemporaryDirectory() as folder:
        whole = _zoo(sparse, device)
        _zoo(sparse, device, max_steps=4, save=Path(folder, "stopped.ckpt"))
        again = _zoo(sparse, device, ckpt_path=Path(folder, "stopped.ckpt"))
    return _same_bits(whole, again, must=True)


def repeated(sparse: bool, deterministic: bool, device: str) -> dict[str, Any]:
    """The same training twice; without `deterministic` it is only told whether it ends at the same bits."""
    try:
        once, again = (_zoo(sparse, device, deterministic=deterministic) for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    return _same_bits(once, again, must=deterministic)


def _zoo(
    sparse: bool, device: str, *, save: Path | None = None, ckpt_path: Path | None = None, **options: Any
) -> State:
    """Weights and metrics of an MMoE, trained, validated and tested with the library's loader, in float32."""
    if str(TOY) not in sys.path:
        sys.path.append(str(TOY))
    from train_script import SCHEMA, InMemory

    class Single(InMemory):
        def loader(self, seed: int, shuffle: bool) -> Any:
            loader = super().loader(seed, shuffle)
            loader.columns = {k: v.float() if v.is_floating_point() else v for k, v in loader.columns.items()}
            return loader

    L.seed_everything(1, verbose=False)
    sizes: dict[str, Any] = {"expert_units": [8], "tower_units": [4], "experts": 2, "embedding_dim": 4}
    model, data = MMoE(SCHEMA, sparse=sparse, lr=0.01, **sizes), Single(32)
    trainer = L.Trainer(
        **QUIET,
        accelerator=device,
        devices=1,
        max_epochs=2,
        callbacks=[_surgery(rules.PCGrad, "row")],
        **options,
    )
    trainer.fit(model, data, ckpt_path=ckpt_path, weights_only=True)
    if save is not None:
        trainer.save_checkpoint(save)
    trainer.test(model, data, verbose=False)
    return {name: one.detach().cpu() for name, one in {**model.state_dict(), **trainer.callback_metrics}.items()}


def _same_bits(one: State, other: State, *, must: bool) -> dict[str, Any]:
    other_bits = [name for name in one if not torch.equal(one[name].nan_to_num(), other[name].nan_to_num())]
    found = {"compared": len(one), "other bits": len(other_bits)}
    return {**found, **({"failed": f"other bits: {other_bits[:10]}"} if must and other_bits else {})}
