"""`GradientSurgery`: any rule, at any level, in any Lightning project."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import lightning as L
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mtlzoo.callbacks import collectives
from mtlzoo.callbacks.batches import rows_of
from mtlzoo.callbacks.described import described
from mtlzoo.callbacks.diagnostics import not_finite, warn_of_no_losses
from mtlzoo.callbacks.lightning_seams import Backward, scale_of, scaler_of
from mtlzoo.callbacks.rules.base import GradientRule, GramianRule
from mtlzoo.callbacks.surgery import global_gradients
from mtlzoo.callbacks.surgery.boundary import descend, weighted_backward
from mtlzoo.callbacks.surgery.combine import private
from mtlzoo.callbacks.surgery.gramians import names_of_bad
from mtlzoo.callbacks.surgery.graph import TaskGraph, read
from mtlzoo.callbacks.surgery.groups import Level, Others
from mtlzoo.callbacks.surgery.loss_vector import LossVector
from mtlzoo.callbacks.surgery.loss_vectors import LossVectors
from mtlzoo.callbacks.surgery.options import check_options
from mtlzoo.callbacks.surgery.ruling import Ruling
from mtlzoo.callbacks.surgery.step import Step
from mtlzoo.callbacks.surgery.taps import Taps, tapped_gramian
from mtlzoo.callbacks.surgery.written import Written

# The command line offers subclasses of what a callable returns, and tensors are no rules: hence Any.
Rule: TypeAlias = GramianRule | GradientRule | Callable[[Tensor], Any]


class GradientSurgery(L.Callback):
    """Replaces the sum of the tasks' gradients by what a rule makes of them, in zoo models and any other module.

    The module hands over its losses as a vector [T], one per task, in automatic optimisation
    (``return {"loss": torch.stack(losses)}``) or manual (``self.manual_backward(torch.stack(losses))``); nothing else
    is said or changed. A list or a dictionary by task will do as well, and where others want a number, both:
    ``{"loss": number, "losses": vector}``. One loss alone in `manual_backward` is its ordinary
    gradient.

    Parameters that two tasks or more reach are shared, and get the rule's gradient; one that a single task reaches gets
    that task's plain gradient, unweighted. The cost is one backward pass per task, each over its own head and the
    shared part; gradients of embedding tables hold touched rows only, dense or ``sparse=True``.

    Under DDP the rule sees the gradients of the global batch, as one process would on it. With accumulation (automatic,
    or several `manual_backward` before a step) it sees their sums. Under fp16 it sees unscaled gradients, and a step
    that overflows leaves no trace. The state of a rule is saved and resumed with the checkpoint.

    A module that calls `manual_backward` several times before a step may set ``self.accumulating = True`` while more
    calls follow: the rule then runs once, at the last, and processes may differ in how many calls they make.

    Of a rule for which the lengths of gradients matter (`PMTRecRule`, `MetaBalance`, `PCD`), their quantiles are logged
    every `log_every_n_steps` of the trainer: see `mtlzoo.callbacks.surgery.norm_log`.

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
        check_options(rule, level, at, every_n_steps, tables, others)
        self.rule = rule
        self.level: Level = level
        self.at = at
        self.modules = modules
        self.every_n_steps = every_n_steps
        self.tasks = None if tasks is None else list(tasks)
        self.tables = tables or ()
        self.others: Others = others
        self.vectors = LossVectors(rule, level, self.tasks, self.tables, others)
        """The vectors of losses that came so far, one in most modules."""
        self._ruling = Ruling(level)
        self._written = Written()
        self._backward = Backward(self)
        # Known from `setup` to `teardown`.
        self._trainer: L.Trainer
        self._module: L.LightningModule
        self._taps: Taps | None = None
        self._rows = 0
        self._trained = False

    @property
    def names(self) -> list[str]:
        """The tasks of the last step."""
        return self._ruling.names

    @property
    def gramians(self) -> Tensor | None:
        """Gramians of the last step, [G, T, T] in float64, of unscaled gradients of the global batch."""
        return self._ruling.gramians

    @property
    def weights(self) -> Tensor | None:
        """The weights that the rule gave for them, [G, T]."""
        return self._ruling.weights

    # ---- Lightning

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Takes over `LightningModule.backward`."""
        if stage != "fit":
            return
        self._backward.take(trainer, pl_module, self._run, self._single, replaces=True)
        self._trainer, self._module, self._trained = trainer, pl_module, False
        self.vectors.begin(pl_module, self._parameters)
        self._ruling.begin(trainer, pl_module)
        if self.at == "representation":
            names = self.modules if self.modules is not None else getattr(pl_module, "shared_modules", [])
            self._taps = Taps(pl_module, names)
        # A compiled backward that gives its buffers away runs once; we run it once per task.
        torch._functorch.config.donated_buffer = False

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Moves the state of the rule to the module's device."""
        self._keep_reducer_out()
        if isinstance(self.rule, nn.Module):
            self.rule.to(pl_module.device)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keeps DDP's reducer out, which would wait for gradients that never come, and tells the rule the epoch."""
        # Not at the start of the epoch: Lightning leaves that hook out after some resumes.
        for rule in self.vectors.rules():
            if hasattr(rule, "set_epoch"):
                rule.set_epoch(trainer.current_epoch)
        self._keep_reducer_out()
        self._rows, self._trained = rows_of(batch), True
        if self._taps is not None:
            self._taps.start()

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer) -> None:
        """Ends the accumulation: the next losses are those of a new step.

        Raises:
            FloatingPointError: A gradient that is not finite, where nobody has taken it out.
        """
        stepped = {p for group in optimizer.param_groups for p in group["params"]}
        for vector in self.vectors:
            # The last micro-batch of a step may have had no losses: `training_step` returned None.
            step = vector.open
            its = len(self.vectors) == 1 or not stepped.isdisjoint(vector.seen)
            if step is not None and step.pending and its and scaler_of(trainer) is None:
                self._write(vector, step)
        if self._ruling.bad and any(p.grad is not None and not _finite(p.grad) for p in stepped):
            raise not_finite("GradientSurgery: the gradient", self._ruling.bad, trainer.global_step)
        done = self._written.forget(stepped)
        for vector in self.vectors:
            if len(self.vectors) == 1 or vector.open in done:
                vector.open = None

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Logs how long the gradients are, for rules that depend on it."""
        if self._taps is not None:
            self._taps.stop()
        collectives.send_buffers(trainer.strategy.model)
        for vector in self.vectors:
            if vector.norms is not None:
                vector.norms.log(trainer, vector.gramians)
        # On a GPU, the host waits for the numbers only when it logs.
        seen = trainer._logger_connector.should_update_logs and self._ruling.waits and scaler_of(trainer) is None
        if seen and self.gramians is not None and (bad := names_of_bad(self.names, self.gramians)):
            raise not_finite("GradientSurgery: the gradient", bad, trainer.global_step)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Warns of tasks that never had a gradient."""
        if trainer.current_epoch == 0 and self._trained:  # a resumed epoch may hold no batch any more
            for vector in self.vectors:
                vector.warn_of_silent_tasks()
            warn_of_no_losses(self, len(self.vectors.state()))

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Gives `LightningModule.backward` back."""
        self._backward.give_back()
        if self._taps is not None:
            self._taps.remove()
            self._taps = None
        self.vectors.end()
        self._written = Written()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Gives `LightningModule.backward` back."""
        self.teardown(trainer, pl_module, "fit")

    def state_dict(self) -> dict[str, Any]:
        """The state of the rule, and the weights in use, of every vector of losses."""
        return {"rule": type(self.rule).__name__, "level": self.level, "vectors": self.vectors.state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues from `state_dict`.

        Raises:
            ValueError: It is another rule's, or of another level.
        """
        mine = {"rule": type(self.rule).__name__, "level": self.level}
        known = "vectors" in state_dict
        saved: Any = {key: state_dict[key] for key in mine} if known else "an older version of mtlzoo"
        if saved != mine:
            raise ValueError(
                f"GradientSurgery: the checkpoint was made with {saved}, and this training has {mine}. Go on with the "
                "same, or begin a new training from the weights alone: load them into the module, and leave ckpt_path "
                "out."
            )
        self.vectors.load(state_dict["vectors"])
        self._written = Written()

    # ---- one backward pass

    def _run(self, losses: Tensor, names: list[str] | None, retain: bool) -> None:
        losses = self.vectors.arranged(losses, names)
        graph = read(losses)
        vector = self.vectors.of(graph, names, self._rows)
        if vector is None:
            return
        if vector.open is not None and self._written.used(vector.open):
            self._written.drop(vector.open)
            vector.open = None
        if vector.open is None:
            vector.open = self._started(vector)
        step = vector.open
        if step.reuse is not None and graph.certain and vector.knows(graph):
            if self._taps is not None:
                self._taps.start()  # what it has kept so far is not needed
            weighted_backward(graph, step.reuse, retain_graph=retain)
            if collectives.world_size() > 1:
                global_gradients.average_grads(self._parameters())
            return
        if self._taps is not None:
            self._represent(graph, losses, vector, self._taps, retain)
            return
        step.gradients.collect(graph, self._parameters(), retain_graph=retain)
        step.losses += losses.detach().double() / scale_of(self._trainer)
        step.pending = True
        # A manual module that doesn't say gets the gradient anew with each call, from the state before the first.
        if not self._accumulates():
            self._write(vector, step)

    def _single(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """The ordinary gradient of one loss alone, beside what the rules made of others."""
        parameters = self._parameters()
        before = [p.grad for p in parameters]
        for parameter in parameters:
            parameter.grad = None
        type(self._module).backward(self._module, loss, *args, **kwargs)
        if collectives.world_size() > 1:
            global_gradients.average_grads(parameters)
        for parameter, gradient in zip(parameters, before, strict=True):
            own, parameter.grad = parameter.grad, gradient
            if own is not None:
                self._written.add(parameter, own)

    def _represent(self, graph: TaskGraph, losses: Tensor, vector: LossVector, taps: Taps, retain: bool) -> None:
        assert vector.open is not None  # `_run` sees to it
        step = vector.open
        if self._accumulates() or step.losses.any() or not graph.certain:
            raise ValueError(
                "GradientSurgery(at='representation') needs all rows of a step in one backward pass, losses made by "
                "torch.stack of one tensor per task, and heads outside of compiled blocks and one's own functions, "
                "whose outputs are not put together (cat, stack) before losses take them apart. Use "
                "at='parameters', or take the accumulation out; of a compiled network compile the trunk alone."
            )
        step.losses += losses.detach().double() / scale_of(self._trainer)
        weigh = self._ruling.weigher(vector, step, collectives.mean(step.losses))
        edges = taps.edges(graph)
        boundary = descend(graph, self._parameters(), edges)
        gramian = tapped_gramian(boundary.tapped, len(losses), losses.device)
        (weights,) = weigh(gramian[None], torch.zeros(1, dtype=torch.int64, device=losses.device))
        boundary.backward(weights, retain_graph=retain)
        if collectives.world_size() > 1:
            global_gradients.average_grads(self._parameters())

    def _accumulates(self) -> bool:
        """Whether more micro-batches of this step follow, as far as is known."""
        # In automatic optimisation Lightning knows; in manual only the module does.
        if self._module.automatic_optimization:
            return self._trainer.fit_loop._should_accumulate()
        return bool(getattr(self._module, "accumulating", False))

    def _write(self, vector: LossVector, step: Step) -> None:
        """Puts the rule's gradient into ``.grad``."""
        gradients, tasks, losses = step.gradients, len(step.losses), step.losses
        for parameter, entry in gradients:
            entry.settle(parameter)
        if collectives.world_size() > 1:
            global_gradients.average(gradients, self._parameters(), tasks)
            losses = collectives.mean(losses)
        first = not vector.reached
        overflows = scaler_of(self._trainer) is not None and not gradients.finite()
        vector.remember(gradients, keep=not overflows)
        if first and vector.reached:
            vector.say_what_is_shared(self._parameters())
        step.pending = False
        for parameter, entry in gradients:
            if not entry.shared and (gradient := private(parameter, entry)) is not None:
                self._written.give(step, parameter, gradient)
        if any(entry.shared and parameter not in vector.groups.first for parameter, entry in gradients):
            self.vectors.grow(vector)
        for parameter, gradient in self._ruling.gradients(vector, step, losses, overflows=overflows).items():
            self._written.give(step, parameter, gradient)

    # ---- the module and its trainer

    def _started(self, vector: LossVector) -> Step:
        reuse = vector.steps % self.every_n_steps != 0 and vector.weights is not None
        vector.steps += 1
        weights = vector.weights[0] if reuse and vector.weights is not None else None
        return Step(len(vector.names), self._module.device, weights)

    def _keep_reducer_out(self) -> None:
        if isinstance(self._trainer.strategy.model, nn.parallel.DistributedDataParallel):
            self._trainer.strategy.model.require_backward_grad_sync = False

    def _parameters(self) -> list[Tensor]:
        """What trains: parameters of the module, and any others that an optimiser holds."""
        groups = (group for optimizer in self._trainer.optimizers for group in optimizer.param_groups)
        held = (parameter for group in groups for parameter in group["params"])
        return list(dict.fromkeys([*self._module.parameters(), *held]))


def _finite(gradient: Tensor) -> bool:
    values = gradient._values() if gradient.is_sparse else gradient
    return bool(values.isfinite().all())
