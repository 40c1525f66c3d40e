"""`GradientSurgery`: any rule, at any level, in any Lightning project."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import lightning as L
from torch import Tensor, nn
from torch.optim import Optimizer

from mtlzoo.callbacks import collectives
from mtlzoo.callbacks.batches import rows_of
from mtlzoo.callbacks.described import described
from mtlzoo.callbacks.diagnostics import warn_of_no_losses
from mtlzoo.callbacks.lightning_seams import Backward, logs_now
from mtlzoo.callbacks.rules.base import GradientRule, GramianRule
from mtlzoo.callbacks.surgery.compiled import let_passes_run_again
from mtlzoo.callbacks.surgery.fit import Fit
from mtlzoo.callbacks.surgery.groups import Level, Others
from mtlzoo.callbacks.surgery.loss_vectors import LossVectors
from mtlzoo.callbacks.surgery.operation import Operation
from mtlzoo.callbacks.surgery.options import check_options
from mtlzoo.callbacks.surgery.taps import Taps

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

    Under DDP the rule sees the gradients of the global batch, as one process would on it, and all processes take the
    first one's weights. With accumulation (automatic, or several `manual_backward` before a step) it sees their sums.
    Under fp16 it sees unscaled gradients, and a step that overflows leaves no trace. The state of a rule is saved and
    resumed with the checkpoint.

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
        self._operation = Operation(self.vectors, every_n_steps)
        self._backward = Backward(self)
        self._trained = False

    @property
    def names(self) -> list[str]:
        """The tasks of the last step."""
        return self._operation.ruling.names

    @property
    def gramians(self) -> Tensor | None:
        """Gramians of the last step, [G, T, T] in float64, of unscaled gradients of the global batch."""
        return self._operation.ruling.gramians

    @property
    def weights(self) -> Tensor | None:
        """The weights that the rule gave for them, [G, T]."""
        return self._operation.ruling.weights

    # ---- Lightning

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Takes over `LightningModule.backward`."""
        if stage != "fit":
            return
        operation, self._trained = self._operation, False
        self._backward.take(trainer, pl_module, operation.backward, operation.backward_alone, replaces=True)
        operation.begin(Fit(trainer, pl_module))
        if self.at == "representation":
            names = getattr(pl_module, "shared_modules", []) if self.modules is None else self.modules
            operation.taps = Taps(pl_module, names)
        let_passes_run_again()

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Moves the state of the rule to the module's device."""
        collectives.keep_reducer_out(trainer.strategy.model)
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
        collectives.keep_reducer_out(trainer.strategy.model)
        self._operation.begin_batch(rows_of(batch))
        self._trained = True

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer) -> None:
        """Ends the accumulation: the next losses are those of a new step.

        Raises:
            FloatingPointError: A gradient that is not finite, where nobody has taken it out.
        """
        self._operation.end_step(p for group in optimizer.param_groups for p in group["params"])

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Logs how long the gradients are, for rules that depend on it."""
        self._operation.end_batch()
        collectives.send_buffers(trainer.strategy.model)
        for vector in self.vectors:
            if vector.norms is not None:
                vector.norms.log(trainer, vector.gramians)
        if logs_now(trainer):
            self._operation.ruling.check_finite()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Warns of tasks that never had a gradient."""
        if trainer.current_epoch == 0 and self._trained:  # a resumed epoch may hold no batch any more
            for vector in self.vectors:
                vector.warn_of_silent_tasks()
            warn_of_no_losses(self, len(self.vectors.state()))

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Gives `LightningModule.backward` back."""
        self._backward.give_back()
        self._operation.end()

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
        self._operation.load(state_dict["vectors"])
