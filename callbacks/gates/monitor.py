"""`GateMonitor`: which experts the gates of a network use, and which nobody uses."""

from collections.abc import Sequence
from typing import Any

import lightning as L
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from mtlzoo.callbacks import collectives
from mtlzoo.callbacks.described import described
from mtlzoo.callbacks.float64 import check_float64
from mtlzoo.callbacks.gates.facts import DEAD, GateMeans, dead_experts, means_of
from mtlzoo.callbacks.gates.names import gates_of
from mtlzoo.callbacks.gates.taps import GateTaps
from mtlzoo.callbacks.heat_map import Panel, heat_maps
from mtlzoo.callbacks.lightning_seams import log, logged_step, more_follows
from mtlzoo.callbacks.run_table import RunTable

COLUMNS = ["step", "layer", "task", "expert", "weight", "entropy"]


class GateMonitor(L.Callback):
    """Logs what the gates of a mixture of experts weigh, of any module.

    Every `every_n_steps` steps, and at the end of an epoch that had no such step, over the rows since the last time:

    * ``gates/<layer>/<task>/<expert>``: mean weight that the task's gate gives the expert;
    * ``gates/<layer>/<task>/entropy``: mean entropy of its weights, divided by the logarithm of the number of experts:
      1 where all weigh the same, 0 where one has everything.

    They also go to ``gates.csv`` in the trainer's `log_dir` (columns `COLUMNS`; a resumed run goes on with its file),
    and the means over the last epoch to a picture, ``gates.png`` there. A logger that takes images and tables (W&B)
    gets a picture of every epoch instead, and the table at the end, as ``gates/weights`` and ``gates/table``. An expert
    to which every gate of its layer gave less than a tenth of an equal share in the last epoch is dead: the picture
    marks it, and the end of the training names it.

    Models of mtlzoo know their gates (those with none are left in peace). Another module says them by a mapping
    ``gate_modules`` from names of modules to tuples (layer, task, names of experts), or they are named here. The output
    of a gate is a softmax over experts, [..., E]; gates in (0, 2), as PEPNet's, and matrices, as Cross-Stitch's, are
    none. Only steps of the training count, and every call of a gate counts its rows.

    The sums stay on the device: a step costs a few operations on [B, E], and the host waits for them only every
    `every_n_steps` steps. Under DDP the means are those of the global batch; the first process alone writes. In a
    compiled network the compiler leaves a gap at every gate (``fullgraph=True`` would refuse that).

    Args:
        every_n_steps: Steps between two logs.
        modules: Names of the gates in any module, such as ``["gates.0", "gates.1"]``: what stands before the last dot
            is the layer, the rest the task, a number the one of the module's ``task_names``.

    Raises:
        ValueError: Nothing says which modules are gates, or they put out no weights of experts.
    """

    __repr__ = described

    def __init__(self, every_n_steps: int = 50, modules: Sequence[str] | None = None) -> None:
        if every_n_steps < 1:
            raise ValueError(f"every_n_steps={every_n_steps}; allowed are numbers >= 1.")
        self.every_n_steps = every_n_steps
        self.modules = modules
        self._taps: GateTaps | None = None
        self._table = RunTable("gates", COLUMNS, ("layer", "task", "expert"))
        self._dead: list[tuple[str, str]] = []
        self._last = self._epoch = -1
        # Sums of `facts_of_output`, of all gates one after the other, since the last log and in this epoch.
        self._sizes: list[int] = []
        self._sums: dict[str, Tensor | None] = {"log": None, "epoch": None}

    # ---- Lightning

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Finds the gates, before anything is compiled."""
        if stage != "fit":
            return
        check_float64("GateMonitor", trainer)
        self._leave()
        if gates := gates_of(pl_module, self.modules):
            self._taps = GateTaps(pl_module, gates)
        else:
            rank_zero_info(f"GateMonitor: {type(pl_module).__name__} has no gates; there is nothing to watch.")

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Opens the table; of a resumed run, the rows up to its checkpoint."""
        if not trainer.global_step:
            self._sums, self._sizes, self._dead = dict.fromkeys(self._sums), [], []
            self._last = self._epoch = -1
        self._sums = {span: None if sums is None else sums.to(pl_module.device) for span, sums in self._sums.items()}
        if self._taps is not None:
            self._taps.sizes = self._sizes
            self._table.open(trainer, self._last)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Begins to listen."""
        if not batch_idx:
            self._sums["epoch"] = None  # not at an epoch's end: one that is cut short may go on, and hooks be left out
        if self._taps is not None:
            self._taps.start()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Adds the step to the sums, and logs them when it is time."""
        if self._taps is None:
            return
        facts = self._taps.take()
        self._sizes = self._taps.sizes
        for span, sums in self._sums.items():
            self._sums[span] = facts if sums is None else sums + facts
        silent = trainer.is_last_batch and self._epoch != trainer.current_epoch
        if ((logged_step(trainer) + 1) % self.every_n_steps and not silent) or more_follows(trainer):
            return
        self._log(trainer, self._means("log"))
        self._sums["log"] = None
        self._last, self._epoch = logged_step(trainer), trainer.current_epoch

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draws the epoch."""
        if self._taps is None or self._sums["epoch"] is None:
            return
        means = self._means("epoch")
        self._dead = dead_experts(means)
        if trainer.is_global_zero:
            picture = draw(means, self._dead, f"epoch {trainer.current_epoch}")
            self._table.show(trainer, picture, "gates", "gates/weights")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Names dead experts, and hands the table to loggers that take it."""
        if self._taps is None:
            return
        if self._dead:
            named = ", ".join(f"{expert} of {layer}" for layer, expert in self._dead)
            rank_zero_info(
                f"GateMonitor: dead experts, to which every gate of their layer gave less than {DEAD:.0%} of an equal "
                f"share in the last epoch: {named}."
            )
        self._table.hand_on(trainer, "gates/table")

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Leaves the network as it was."""
        self._leave()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Leaves the network as it was."""
        self._leave()

    def state_dict(self) -> dict[str, Any]:
        """The sums over all processes, which ask together, and the last step in the table, with its epoch."""
        world = collectives.world_size()
        sums = {span: None if sums is None else collectives.mean(sums) * world for span, sums in self._sums.items()}
        dead = [list(expert) for expert in self._dead]
        return {"sums": sums, "sizes": self._sizes, "dead": dead, "last": self._last, "epoch": self._epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues from `state_dict`."""
        world = collectives.world_size()
        self._sums = {span: None if sums is None else sums / world for span, sums in state_dict["sums"].items()}
        self._dead = [(layer, expert) for layer, expert in state_dict["dead"]]
        self._sizes, self._last, self._epoch = state_dict["sizes"], state_dict["last"], state_dict["epoch"]

    # ---- what is written

    def _leave(self) -> None:
        if self._taps is not None:
            self._taps.remove()
            self._taps = None

    def _means(self, span: str) -> list[GateMeans]:
        """Means over the rows of a span and of all processes, which ask together."""
        sums = self._sums[span]
        assert self._taps is not None
        assert sums is not None
        means = means_of(self._taps.gates, self._taps.sizes, collectives.mean(sums))
        for gate, name in zip(means, self._taps.gates, strict=True):
            if gate.rows and not abs(sum(gate.weights) - 1) < 0.02:
                raise ValueError(
                    f"GateMonitor: the output of {name} is no softmax over experts: its rows sum to "
                    f"{sum(gate.weights):.3g}. Name the module that ends in the softmax."
                )
        return [gate for gate in means if gate.rows]

    def _log(self, trainer: L.Trainer, means: Sequence[GateMeans]) -> None:
        values: dict[str, float] = {}
        lines: list[list[Any]] = []
        for gate in means:
            for expert, weight in zip(gate.experts, gate.weights, strict=True):
                values[f"gates/{gate.layer}/{gate.task}/{expert}"] = weight
                lines.append([logged_step(trainer), gate.layer, gate.task, expert, weight, gate.entropy])
            values[f"gates/{gate.layer}/{gate.task}/entropy"] = gate.entropy
        log(trainer, values)
        self._table.add(trainer, lines)


def draw(means: Sequence[GateMeans], dead: Sequence[tuple[str, str]], when: str) -> Any:
    """A picture of the mean weights, a panel for each layer; dead experts are marked by a cross.

    Args:
        means: Of the gates.
        dead: Layers and names of experts.
        when: What they are means of, for the titles.
    """
    panels = []
    for layer in dict.fromkeys(gate.layer for gate in means):
        gates = [gate for gate in means if gate.layer == layer]
        experts = list(dict.fromkeys(expert for gate in gates for expert in gate.experts))
        experts.sort(key=lambda expert: sum(expert in gate.experts for gate in gates))  # those for all last
        weights = [dict(zip(gate.experts, gate.weights, strict=True)) for gate in gates]
        named = [f"\N{MULTIPLICATION SIGN} {expert}" if (layer, expert) in dead else expert for expert in experts]
        values = [[of_gate.get(expert, float("nan")) for expert in experts] for of_gate in weights]
        panels.append(Panel(values, [gate.task for gate in gates], named, f"Gates of {layer}, {when}"))
    return heat_maps(panels, "Blues")
