"""`GradientSurgery`: any rule, at any level, in any Lightning project."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import lightning as L
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mtlzoo.callbacks import collectives, processes
from mtlzoo.callbacks.boundary import descend
from mtlzoo.callbacks.combine import Groups, Level, Others, Weigh, combine, private, transform
from mtlzoo.callbacks.described import described
from mtlzoo.callbacks.graph import TaskGraph, read
from mtlzoo.callbacks.norms import NormLog
from mtlzoo.callbacks.representation import Taps, tapped_gramian
from mtlzoo.callbacks.rules.base import GradientRule, GramianRule, LossRule
from mtlzoo.callbacks.step import Step
from mtlzoo.callbacks.tables import find_tables
from mtlzoo.callbacks.takeover import Backward, check_losses
from mtlzoo.callbacks.weighted import weighted_backward

# The command line offers subclasses of what a callable returns, and tensors are no rules: hence Any.
Rule: TypeAlias = GramianRule | GradientRule | Callable[[Tensor], Any]


class GradientSurgery(L.Callback):
    """Replaces the sum of the tasks' gradients by what a rule makes of them, in zoo models and any other module.

    The module hands over its losses as a vector [T], one per task, in automatic optimisation
    (``return {"loss": torch.stack(losses)}``) or manual (``self.manual_backward(torch.stack(losses))``); nothing else
    is said or changed. Parameters that two tasks or more reach are shared, and get the rule's gradient; one that a
    single task reaches gets that task's plain gradient, unweighted. The cost is one backward pass per task, each over
    its own head and the shared part; gradients of embedding tables hold touched rows only, dense or ``sparse=True``.

    Under DDP the rule sees the gradients of the global batch, as one process would on it. With accumulation (automatic,
    or several `manual_backward` before a step) it sees their sums. Under fp16 it sees unscaled gradients, and a step
    that overflows leaves no trace. The state of a rule is saved and resumed with the checkpoint.

    A module that calls `manual_backward` several times before a step may set ``self.accumulating = True`` while more
    calls follow: the rule then runs once, at the last, and processes may differ in how many calls they make.

    Of a rule for which the lengths of gradients matter (`PMTRecRule`, `MetaBalance`, `PCD`), their quantiles are logged
    every `log_every_n_steps` of the trainer: see `mtlzoo.callbacks.norms`.

    If the losses are not made by `torch.stack` or `torch.cat` of one tensor per task (a mean over the rows of a matrix,
    say), every pass walks all heads, and a parameter that gets a gradient from one task only is taken as its own.

    Args:
        rule: A rule of `mtlzoo.callbacks.rules`, or anything that makes weights [T] of a Gramian [T, T], such as a
            ``torchjd.aggregation`` weighting.
        level: What one Gramian is taken over: ``model``: all shared parameters; ``parameter``: each tensor; ``row``:
            each row of each embedding table, and each other tensor.
        at: Where the Gramian is taken. ``parameters``: exact. ``representation``: at the outputs of shared modules, for
            which heads alone run backward; then one weighted pass. Far cheaper, but another Gramian, as in MGDA-UB
            (NeurIPS 2018) and MultiBalance (arXiv 2411.11871). Level ``model``, no accumulation.
        every_n_steps: Steps that use the same weights; all but the first of them cost one ordinary backward pass.
            Level ``model`` only.
        tasks: Names of the tasks in the order of the losses, for rules with a main task and for logs; by default the
            module's `task_names`, or their numbers.
        modules: Names of the modules at whose outputs the representation is; by default the module's `shared_modules`.
        tables: At level ``row``: names of parameters that are embedding tables beside the weights of `nn.Embedding` and
            `nn.EmbeddingBag`, such as a plain `nn.Parameter` that a graph encoder multiplies.
        others: At level ``row``: what shared parameters that are no tables get: ``rule``: each is a group of its own;
            ``sum``: the plain sum of the tasks' gradients, of which the rule and monitors see nothing.

    Raises:
        ValueError: Options, or a module, trainer or loss, that cannot be served; with what to do instead.
    """

    __repr__ = described

    def __init__(
        self,
        rule: Rule,
        level: Level = "model",
        at: Literal["parameters", "representation"] = "parameters",
        every_n_steps: int = 1,
        tasks: Sequence[str] | None = None,
        modules: Sequence[str] | None = None,
        tables: Sequence[str] | None = None,
        others: Others = "rule",
    ) -> None:
        if isinstance(rule, LossRule):
            raise ValueError(f"{type(rule).__name__} weighs losses; use LossBalancing({type(rule).__name__}(...)).")
        if isinstance(rule, type) or not callable(rule):
            raise ValueError(f"rule={rule!r}: give an object, as in GradientSurgery(PCGrad()).")
        if any(base.__name__ == "Aggregator" for base in type(rule).__mro__):
            name = type(rule).__name__
            raise ValueError(f"{name} takes gradients, not a Gramian; use torchjd.aggregation.{name}Weighting.")
        levels = ("model",) if getattr(rule, "whole", False) else ("model", "parameter", "row")
        if level not in levels:
            raise ValueError(f"level={level!r} with {type(rule).__name__}; allowed: {', '.join(levels)}.")
        if every_n_steps < 1 or (every_n_steps > 1 and (level != "model" or isinstance(rule, GradientRule))):
            raise ValueError(
                f"every_n_steps={every_n_steps} with level={level!r} and {type(rule).__name__}; allowed are 1, or more "
                "with level='model' and a rule that gives weights."
            )
        if at not in ("parameters", "representation"):
            raise ValueError(f"at={at!r}; allowed are 'parameters' and 'representation'.")
        if at == "representation" and (level != "model" or isinstance(rule, GradientRule)):
            raise ValueError(
                f"at='representation' with level={level!r} and {type(rule).__name__}; allowed is level='model' with a "
                "rule that gives weights."
            )
        if others not in ("rule", "sum"):
            raise ValueError(f"others={others!r}; allowed are 'rule' and 'sum'.")
        if (others == "sum" or tables) and (level != "row" or isinstance(rule, GradientRule)):
            raise ValueError(
                f"others={others!r}, tables={tables} with level={level!r} and {type(rule).__name__}; allowed with "
                "level='row' and a rule that gives weights: nothing else tells tables from other parameters."
            )
        self.rule = rule
        self.level: Level = level
        self.at = at
        self.modules = modules
        self.every_n_steps = every_n_steps
        self.tasks = None if tasks is None else list(tasks)
        self.tables = tables or ()
        self.others: Others = others
        self.gramians: Tensor | None = None
        """Gramians of the last step, [G, T, T] in float64, of unscaled gradients of the global batch."""
        self.weights: Tensor | None = None
        """The weights that the rule gave for them, [G, T]."""
        self._steps = 0
        self._backward = Backward(self)
        # Known from `setup` to `teardown`; groups and steps only once losses have come.
        self._trainer: L.Trainer
        self._module: L.LightningModule
        self._groups: Groups | None = None
        self._open: Step | None = None
        self._taps: Taps | None = None
        self._norms: NormLog | None = None

    # ---- Lightning

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Takes over `LightningModule.backward`."""
        if stage != "fit":
            return
        self._backward.take(trainer, pl_module, self._run)
        self._trainer, self._module = trainer, pl_module
        if self.at == "representation":
            names = self.modules if self.modules is not None else getattr(pl_module, "shared_modules", [])
            self._taps = Taps(pl_module, names)
        # A compiled backward that gives its buffers away runs once; we run it once per task.
        torch._functorch.config.donated_buffer = False

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Moves the state of the rule to the module's device."""
        if isinstance(self.rule, nn.Module):
            self.rule.to(pl_module.device)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keeps DDP's reducer out, which would wait for gradients that never come, and tells the rule the epoch."""
        # Not at the start of the epoch: Lightning leaves that hook out after some resumes.
        if hasattr(self.rule, "set_epoch"):
            self.rule.set_epoch(trainer.current_epoch)
        if isinstance(trainer.strategy.model, nn.parallel.DistributedDataParallel):
            trainer.strategy.model.require_backward_grad_sync = False
        if self._taps is not None:
            self._taps.start()

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer) -> None:
        """Ends the accumulation: the next losses are those of a new step."""
        self._open = None

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Logs how long the gradients are, for rules that depend on it."""
        if self._taps is not None:
            self._taps.stop()
        if self._norms is not None:
            self._norms.log(trainer, self.gramians)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Gives `LightningModule.backward` back."""
        self._backward.give_back()
        if self._taps is not None:
            self._taps.remove()
            self._taps = None
        self._groups = self._open = self._norms = None

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Gives `LightningModule.backward` back."""
        self.teardown(trainer, pl_module, "fit")

    def state_dict(self) -> dict[str, Any]:
        """The state of the rule, and the weights in use."""
        rule = self.rule.state_dict() if hasattr(self.rule, "state_dict") else {}
        return {"rule": rule, "weights": self.weights, "steps": self._steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues from `state_dict`."""
        if hasattr(self.rule, "load_state_dict"):
            self.rule.load_state_dict(state_dict["rule"])
        self.weights, self._steps = state_dict["weights"], state_dict["steps"]

    # ---- one backward pass

    def _run(self, losses: Tensor, *args: Any, **kwargs: Any) -> None:
        check_losses(self, losses, kwargs | {str(i): argument for i, argument in enumerate(args)})
        if self._groups is None:
            self._groups = self._prepare(len(losses))
        if self._open is None or self._open.touched():
            self._open = self._started(len(losses))
        graph = read(losses)
        retain = bool(kwargs.get("retain_graph"))
        if self._open.reuse is not None and graph.certain:
            if self._taps is not None:
                self._taps.start()  # what it has kept so far is not needed
            weighted_backward(graph, self._open.reuse, retain_graph=retain)
            if collectives.world_size() > 1:
                processes.average_grads(self._parameters())
            return
        if self._taps is not None:
            self._represent(graph, losses, self._open, self._taps, retain)
            return
        self._open.gradients.collect(graph, self._parameters(), retain_graph=retain)
        self._open.losses += losses.detach().double() / self._scale()
        # A manual module that doesn't say gets the gradient anew with each call, from the state before the first.
        if not self._accumulates():
            self._write(self._open, self._groups)

    def _represent(self, graph: TaskGraph, losses: Tensor, step: Step, taps: Taps, retain: bool) -> None:
        if self._accumulates() or step.losses.any() or not graph.certain:
            raise ValueError(
                "GradientSurgery(at='representation') needs all rows of a step in one backward pass, losses made by "
                "torch.stack of one tensor per task, and heads outside of compiled blocks and one's own functions, "
                "whose outputs are not put together (cat, stack) before losses take them apart. Use "
                "at='parameters', or take the accumulation out; of a compiled network compile the trunk alone."
            )
        step.losses += losses.detach().double() / self._scale()
        weigh = self._weigher(step, collectives.mean(step.losses) if collectives.world_size() > 1 else step.losses)
        edges = taps.edges(graph)
        boundary = descend(graph, self._parameters(), edges)
        gramian = tapped_gramian(boundary.tapped, len(losses), losses.device)
        (weights,) = weigh(gramian[None], torch.zeros(1, dtype=torch.int64, device=losses.device))
        boundary.backward(weights, retain_graph=retain)
        if collectives.world_size() > 1:
            processes.average_grads(self._parameters())

    def _accumulates(self) -> bool:
        """Whether more micro-batches of this step follow, as far as is known."""
        # In automatic optimisation Lightning knows; in manual only the module does.
        if self._module.automatic_optimization:
            return self._trainer.fit_loop._should_accumulate()
        return bool(getattr(self._module, "accumulating", False))

    def _started(self, tasks: int) -> Step:
        reuse = self._steps % self.every_n_steps != 0 and self.weights is not None
        self._steps += 1
        return Step(tasks, self._module.device, self.weights[0] if reuse and self.weights is not None else None)

    def _prepare(self, tasks: int) -> Groups:
        names = list(self.tasks or getattr(self._module, "task_names", None) or map(str, range(tasks)))
        if len(names) != tasks:
            raise ValueError(f"GradientSurgery: {tasks} losses for the tasks {names}. Give one name per loss.")
        rule: Any = self.rule
        if isinstance(main := getattr(rule, "main_task", None), str):
            if main not in names:
                raise ValueError(f"{type(rule).__name__}: main_task={main!r}; allowed are {names}.")
            rule.main_task = names.index(main)
        tables = find_tables(self._module, self.tables)
        if self.others == "sum" and not tables:
            raise ValueError(
                f"GradientSurgery(others='sum'): {type(self._module).__name__} has no nn.Embedding, so nothing is left "
                "for the rule. Name the parameters that are its tables: tables=[...]."
            )
        groups = Groups.of(self.level, self._parameters(), tables, self.others)
        if isinstance(rule, GramianRule):
            rule.allocate(groups.total, tasks)
            rule.to(self._module.device)
            self._norms = NormLog(names) if rule.degree is None else None
        return groups

    def _write(self, step: Step, groups: Groups) -> None:
        """Puts the rule's gradient into ``.grad``."""
        gradients, tasks, losses = step.gradients, len(step.losses), step.losses
        for parameter, entry in gradients:
            entry.settle(parameter)
        if collectives.world_size() > 1:
            processes.average(gradients, self._parameters(), tasks)
            losses = collectives.mean(losses)
        for parameter, entry in gradients:
            if not entry.shared and (gradient := private(parameter, entry)) is not None:
                step.write(parameter, gradient)
        whole = getattr(self.rule, "whole", False)  # then what no task happened to reach in this step counts as zero
        found = {p: entry for p, entry in gradients if entry.shared and (entry.rows or entry.dense or whole)}
        shared = {p: found[p] for p in groups.first if p in found}  # in one order, whatever the graph's
        if not shared:
            return

        if self._scaler() is not None and not gradients.finite():
            made = combine(shared, tasks, groups, _ones)
        elif isinstance(self.rule, GradientRule):
            if not self._module.automatic_optimization:
                step.rewind(self.rule, None)
            made = transform(shared, self.rule, losses, self._scale())
        else:
            made = combine(shared, tasks, groups, self._weigher(step, losses))
        for parameter, gradient in made.items():
            step.write(parameter, gradient)

    def _weigher(self, step: Step, losses: Tensor) -> Weigh:
        """The rule, for Gramians of gradients as they are: scaled, perhaps not finite."""

        def weigh(gramians: Tensor, numbers: Tensor) -> Tensor:
            gramians = gramians if self._scaler() is None else gramians / self._scale() ** 2
            if step.reuse is not None:
                return step.reuse.expand(gramians.shape[:-1])
            if self._scaler() is not None and not gramians.isfinite().all():
                return _ones(gramians, numbers)
            weights = self._weights(gramians, None if self.level == "model" else numbers, losses, step)
            self.gramians, self.weights = gramians, weights
            return weights

        return weigh

    def _weights(self, gramians: Tensor, numbers: Tensor | None, losses: Tensor, step: Step) -> Tensor:
        if not isinstance(self.rule, GramianRule):
            return torch.stack([self._call(gramian) for gramian in gramians])
        if not self._module.automatic_optimization:
            step.rewind(self.rule, numbers)
        weights: Tensor = self.rule(gramians, losses=losses if self.rule.needs_losses else None, groups=numbers)
        return weights

    def _call(self, gramian: Tensor) -> Tensor:
        weights: Tensor = self.rule(gramian).detach()
        if weights.shape != gramian.shape[:1]:
            raise ValueError(
                f"The rule {self.rule!r} made {tuple(weights.shape)} of a Gramian {tuple(gramian.shape)}; it must give "
                "one weight per task, [T]. (Of torchjd take the ...Weighting classes, not the aggregators.)"
            )
        return weights.to(gramian)

    def _parameters(self) -> list[Tensor]:
        """What trains: parameters of the module, and any others that an optimiser holds."""
        groups = (group for optimizer in self._trainer.optimizers for group in optimizer.param_groups)
        held = (parameter for group in groups for parameter in group["params"])
        return list(dict.fromkeys([*self._module.parameters(), *held]))

    def _scaler(self) -> Any:
        return getattr(self._trainer.precision_plugin, "scaler", None)

    def _scale(self) -> float:
        scaler = self._scaler()
        return 1.0 if scaler is None else float(scaler.get_scale())


def _ones(gramians: Tensor, numbers: Tensor) -> Tensor:
    """Weights of a step that the scaler will skip: what is not finite in the gradients tells it. No state changes."""
    return gramians.new_ones(gramians.shape[:-1])
