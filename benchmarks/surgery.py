"""What gradient surgery costs: time and memory of a step, as ratios to the plain step of the same module.

    python benchmarks/surgery.py [--tasks 2 4 8] [--rows 10000 1000000 10000000] [--repeats 15] [--busy]

The module is an MMoE of three experts 128-128-64, a gate and a tower 64-32-1 per task, on eight tables that hold
`rows` rows of width 16 together, batch 4096, uniform ids (the worst case for anything that works by row), sparse
gradients, SGD. Every way is a `Trainer.fit` in a process of its own. After each of its steps comes a plain step, of the
summed losses, of a twin; a ratio is the median over these pairs. Peaks are of the process, above what it held before
the first step. torchjd refuses sparse tables, so it gets dense ones. `T passes` is what any exact way has to do: one
backward pass per task through the shared part, and nothing with what it finds. `--busy` is for a machine that others
use meanwhile: one thread, and its CPU time.

`many` are 100 tasks of a small network, as chemists have them: 32-64-64 and one layer for all tasks, batch 64, the loss
the mean error by column. `--rows` without a number measures these alone.

Results: benchmarks/results/surgery.json and surgery_many.json.
"""

import argparse
import json
import resource
import subprocess
import sys
from typing import Any

import interleave
import lightning as L
import torch
from report import show, write
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from mtlzoo.callbacks import GradientSurgery, rules

BATCH, TABLES, DIM = 4096, 8, 16
WAYS = {
    "sum": None,
    "PCGrad model": lambda: GradientSurgery(rules.PCGrad()),
    "PCGrad parameter": lambda: GradientSurgery(rules.PCGrad(), level="parameter"),
    "PCGrad row": lambda: GradientSurgery(rules.PCGrad(), level="row"),
    "AlignedMTL row": lambda: GradientSurgery(rules.AlignedMTL(), level="row"),
    "UPGrad model": lambda: GradientSurgery(rules.UPGrad()),
    "PCGrad representation": lambda: GradientSurgery(
        rules.PCGrad(), at="representation", modules=[f"experts.{k}" for k in range(3)]
    ),
    "PCGrad model, every 4": lambda: GradientSurgery(rules.PCGrad(), every_n_steps=4),
}
MANY = {"many PCGrad": lambda: GradientSurgery(rules.PCGrad()), "many UPGrad": lambda: GradientSurgery(rules.UPGrad())}
OTHERS = ("T passes", "torchjd PCGrad", "autograd PCGrad")


class Module(L.LightningModule):
    """The network; sums the losses where no callback takes over."""

    def __init__(self, tasks: int, rows: int, *, sparse: bool = True) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.tables = nn.ModuleList(nn.Embedding(rows // TABLES, DIM, sparse=sparse) for _ in range(TABLES))
        width = TABLES * DIM
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 64))
            for _ in range(3)
        )
        self.gates = nn.ModuleList(nn.Linear(width, 3) for _ in range(tasks))
        self.towers = nn.ModuleList(nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1)) for _ in range(tasks))
        self.seconds: list[float] = []
        self.plain: list[float] = []
        self.twin: tuple[Module, torch.optim.Optimizer] | None = None

    def losses(self, batch: Tensor, labels: Tensor) -> list[Tensor]:
        """One per task."""
        self.looked_up = [table(ids) for table, ids in zip(self.tables, batch.unbind(1), strict=True)]
        x = torch.cat(self.looked_up, 1)
        h = torch.stack([expert(x) for expert in self.experts], 1)
        mixed = [torch.einsum("be,beh->bh", gate(x).softmax(1), h) for gate in self.gates]
        logits = [tower(m).squeeze(1) for tower, m in zip(self.towers, mixed, strict=True)]
        return [F.binary_cross_entropy_with_logits(o, labels[:, t]) for t, o in enumerate(logits)]

    def vector(self, losses: list[Tensor]) -> Tensor:
        """One entry per task."""
        return torch.stack(losses)

    def gradients(self, losses: list[Tensor]) -> None:
        """Fills ``.grad``."""
        self.manual_backward(self.vector(losses))

    sums_losses = True  # so that surgery may take its place

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Descends the sum."""
        loss.sum().backward(*args, **kwargs)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """One step; timed, and a plain one of the twin after it, where there is a twin."""
        start = interleave.now() if self.twin else 0.0
        optimizer = self.optimizers()
        optimizer.zero_grad()  # type: ignore[union-attr]
        self.gradients(self.losses(*batch))
        optimizer.step()  # type: ignore[union-attr]
        if self.twin is None:
            return
        end = interleave.now()
        self.seconds.append(end - start)
        twin, plain = self.twin
        plain.zero_grad()
        twin.vector(twin.losses(*batch)).sum().backward()
        plain.step()
        self.plain.append(interleave.now() - end)

    def configure_optimizers(self) -> Any:
        """Plain SGD."""
        return torch.optim.SGD(self.parameters(), lr=0.01)

    def shared(self) -> list[nn.Parameter]:
        """What two tasks or more reach."""
        return [*self.tables.parameters(), *self.experts.parameters()]


class Many(Module):
    """One layer gives what all tasks predict."""

    def __init__(self, tasks: int, rows: int, *, sparse: bool = True) -> None:
        super().__init__(0, TABLES)
        self.network = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, tasks))

    def losses(self, batch: Tensor, labels: Tensor) -> list[Tensor]:
        """The whole vector, in one."""
        return [(self.network(batch) - labels).square().mean(0)]

    def vector(self, losses: list[Tensor]) -> Tensor:
        """As it is."""
        return losses[0]


class Passes(Module):
    """One backward pass per task, down to the parameters and the looked-up rows; what it finds is thrown away."""

    def gradients(self, losses: list[Tensor]) -> None:
        """Each head by its task, the shared part by all."""
        shared = [*self.experts.parameters(), *self.looked_up]
        for loss, *own in zip(losses, self.gates, self.towers, strict=True):
            heads = [p for module in own for p in module.parameters()]
            torch.autograd.grad(loss, [*heads, *shared], retain_graph=loss is not losses[-1])


class TorchJD(Module):
    """`mtl_backward` and `jac_to_grad` in their best mode: Gramian per parameter, no vmap from four tasks on."""

    def gradients(self, losses: list[Tensor]) -> None:
        """Heads by themselves, then the shared part."""
        from torchjd.aggregation import PCGrad
        from torchjd.autojac import backward, jac_to_grad

        heads = [[*gate.parameters(), *tower.parameters()] for gate, tower in zip(self.gates, self.towers, strict=True)]
        for loss, own in zip(losses, heads, strict=True):
            loss.backward(inputs=own, retain_graph=True)
        chunk = None if len(losses) < 4 else 1
        backward(losses, inputs=self.shared(), parallel_chunk_size=chunk)
        jac_to_grad(self.shared(), PCGrad(), optimize_gramian_computation=True)


class Autograd(Module):
    """PCGrad as its papers' code does it: a dense row of all shared gradients per task, projected row by row."""

    def gradients(self, losses: list[Tensor]) -> None:
        """Heads by themselves, then the shared part."""
        shared = self.shared()
        for loss, *own in zip(losses, self.gates, self.towers, strict=True):
            loss.backward(inputs=[p for module in own for p in module.parameters()], retain_graph=True)
        rows = []
        for number, loss in enumerate(losses):
            found = torch.autograd.grad(loss, shared, retain_graph=number < len(losses) - 1)
            rows.append(torch.cat([gradient.reshape(-1) for gradient in found]))
        total = torch.zeros_like(rows[0])
        for i, row in enumerate(rows):
            projected = row.clone()
            for j in torch.randperm(len(rows)).tolist():
                if j != i and (inner := projected @ rows[j]) < 0:
                    projected -= inner / (rows[j] @ rows[j]) * rows[j]
            total += projected
        for parameter, part in zip(shared, total.split([p.numel() for p in shared]), strict=True):
            parameter.grad = part.view_as(parameter)


class Peak(L.Callback):
    """MiB above what was held before the first step: of the GPU, or of the process."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forgets what was before."""
        self.on_gpu = pl_module.device.type == "cuda"
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats()
        self.mib = -self._peak()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """All steps are done."""
        self.mib = round(self.mib + self._peak())

    def _peak(self) -> float:
        if self.on_gpu:
            return torch.cuda.max_memory_allocated() / 2**20
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fitted(
    way: str, tasks: int, rows: int, steps: int, *callbacks: L.Callback, device: str = "cpu", timed: bool = True
) -> Module:
    """Trained for some steps in one way; timed, with a plain step of a twin after each of them."""
    torch.manual_seed(0)
    kinds: dict[str, type[Module]] = {"T passes": Passes, "torchjd PCGrad": TorchJD, "autograd PCGrad": Autograd}
    kinds |= dict.fromkeys(MANY, Many)
    module = kinds.get(way, Module)(tasks, rows, sparse=not way.endswith("PCGrad") or way in WAYS)
    if timed:
        twin = (Many if way in MANY else Module)(tasks, rows).to(device)
        module.twin = twin, torch.optim.SGD(twin.parameters(), lr=0.01)
    make = (WAYS | MANY).get(way)
    data = [(torch.randint(0, rows // TABLES, (BATCH, TABLES)), torch.rand(BATCH, tasks).round()) for _ in range(4)]
    if way in MANY:
        data = [(torch.randn(64, 32), torch.randn(64, tasks)) for _ in range(4)]
    trainer = L.Trainer(
        accelerator=device,
        devices=1,
        max_steps=steps,
        max_epochs=-1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[*([make()] if make is not None else []), *callbacks],
    )
    trainer.fit(module, DataLoader(data, batch_size=None))  # type: ignore[arg-type]
    return module


def ratios(module: Module, warm_up: int = 3) -> dict[str, float]:
    """Milliseconds of a step, of a plain step, and how many times the first is the second."""
    times, plain = torch.tensor(module.seconds[warm_up:]), torch.tensor(module.plain[warm_up:])
    return {
        "ms": round(times.median().item() * 1e3, 1),
        "plain_ms": round(plain.median().item() * 1e3, 1),
        "to_plain": round((times / plain).median().item(), 2),
    }


def measure(way: str, tasks: int, rows: int, repeats: int, device: str = "cpu") -> dict[str, float]:
    """Milliseconds of a step and of a plain step, their ratio, and peak memory."""
    peak = Peak()
    found = ratios(fitted(way, tasks, rows, repeats + 3, peak, device=device))
    return found | {"added_mib": peak.mib}


def run(way: str, tasks: int, rows: int, repeats: int, busy: bool) -> dict[str, Any]:
    """One way in a process of its own."""
    words = ["--measure", way, "--tasks", str(tasks), "--rows", str(rows), "--repeats", str(repeats)]
    words += ["--busy"] if busy else []
    done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{way}: {done.stderr[-2000:]}")
    measured: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tasks", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--rows", type=int, nargs="*", default=[10_000, 1_000_000, 10_000_000])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--busy", action="store_true", help="one thread's CPU time, where others use the machine")
    parser.add_argument("--measure", choices=[*WAYS, *MANY, *OTHERS], help=argparse.SUPPRESS)
    options = parser.parse_args()
    interleave.busy(options.busy)
    if options.measure:
        print(json.dumps(measure(options.measure, options.tasks[0], options.rows[0], options.repeats)))
        return
    many = [{"tasks": 100, "way": way, **run(way, 100, TABLES, options.repeats, options.busy)} for way in MANY]
    show("Surgery: ms of a step with many tasks", many)
    write("surgery_many", vars(options), many)
    if not options.rows:
        return
    table: list[dict[str, Any]] = []
    for rows in options.rows:
        for tasks in options.tasks:
            for way in [*WAYS, *OTHERS]:
                if way == "autograd PCGrad" and rows > 10**6:
                    continue  # 2 T dense tables: a minute a step
                repeats = 3 if way == "torchjd PCGrad" and rows > 10**6 else options.repeats
                one = run(way, tasks, rows, repeats, options.busy)
                table.append({"rows": rows, "tasks": tasks, "way": way, **one})
                print(table[-1], flush=True)
    show("Surgery: ms and MiB of a step", table)
    write("surgery", vars(options), table)


if __name__ == "__main__":
    main()
