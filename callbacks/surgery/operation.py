"""The backward pass of surgery: from the losses of several tasks to ``.grad``, over the micro-batches of a step."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from mtlzoo.callbacks import collectives
from mtlzoo.callbacks.diagnostics import not_finite
from mtlzoo.callbacks.surgery import global_gradients
from mtlzoo.callbacks.surgery.boundary import descend, weighted_backward
from mtlzoo.callbacks.surgery.combine import private
from mtlzoo.callbacks.surgery.fit import Fit
from mtlzoo.callbacks.surgery.graph import TaskGraph, read
from mtlzoo.callbacks.surgery.loss_vector import LossVector
from mtlzoo.callbacks.surgery.loss_vectors import LossVectors
from mtlzoo.callbacks.surgery.ruling import Ruling
from mtlzoo.callbacks.surgery.step import Step
from mtlzoo.callbacks.surgery.taps import Taps, tapped_gramian
from mtlzoo.callbacks.surgery.written import Written


class Operation:
    """Takes losses, and leaves what the rule makes of their gradients.

    Args:
        vectors: The vectors of losses of the training.
        every_n_steps: Steps that use the same weights.
    """

    def __init__(self, vectors: LossVectors, every_n_steps: int) -> None:
        self.vectors, self.every_n_steps = vectors, every_n_steps
        self.ruling = Ruling()
        self.taps: Taps | None = None
        """Where the representation is, if the Gramian is to be taken there."""
        self._rows = 0
        self._written = Written()
        # Known from `begin` to `end`.
        self._fit: Fit

    def begin(self, fit: Fit) -> None:
        """Says what is trained."""
        self._fit = fit
        self.vectors.begin(fit)
        self.ruling.begin(fit)

    def end(self) -> None:
        """Lets the module go; its vectors keep their state."""
        if self.taps is not None:
            self.taps.remove()
            self.taps = None
        self.vectors.end()
        self._written = Written()

    def load(self, vectors: list[dict[str, Any]]) -> None:
        """Goes on from a checkpoint's vectors of losses."""
        self.vectors.load(vectors)
        self._written = Written()

    # ---- backward passes

    def begin_batch(self, rows: int) -> None:
        """Gets ready for the losses of a batch of so many rows; 0 where that is not known."""
        self._rows = rows
        if self.taps is not None:
            self.taps.start()

    def end_batch(self) -> None:
        """Keeps nothing of a batch's graph."""
        if self.taps is not None:
            self.taps.stop()

    def backward(self, losses: Tensor, names: list[str] | None, retain: bool) -> None:
        """The pass of one micro-batch.

        Args:
            losses: [T].
            names: Of the losses, if the module gave any.
            retain: Whether the graph is needed after this.
        """
        losses = self.vectors.arranged(losses, names)
        graph = read(losses)
        vector = self.vectors.of(graph, names, self._rows)
        if vector is None:
            return
        step = self._open(vector)
        if step.reuse is not None and graph.certain and vector.knows(graph):
            if self.taps is not None:
                self.taps.start()  # what it has kept so far is not needed
            weighted_backward(graph, step.reuse, retain_graph=retain)
            self._average_grads()
        elif self.taps is not None:
            self._at_representation(graph, losses, vector, step, self.taps, retain)
        else:
            step.gradients.collect(graph, self._fit.parameters(), retain_graph=retain)
            step.begun = True
            step.losses += self._fit.unscaled(losses.detach().double())
            step.pending = True
            # A manual module that doesn't say gets the gradient anew with each call, from the state before the first.
            if not self._fit.more_follows:
                self._decide(vector, step)

    def backward_alone(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """The ordinary gradient of one loss alone, beside what the rules made of others."""
        parameters = self._fit.parameters()
        before = [p.grad for p in parameters]
        for parameter in parameters:
            parameter.grad = None
        self._fit.plain_backward(loss, *args, **kwargs)
        self._average_grads()
        for parameter, gradient in zip(parameters, before, strict=True):
            own, parameter.grad = parameter.grad, gradient
            if own is not None:
                self._written.add(parameter, own)

    def end_step(self, stepped: Iterable[Tensor]) -> None:
        """Ends the accumulation, before an optimiser steps: the next losses of these parameters are a new step's.

        Raises:
            FloatingPointError: A gradient that is not finite, where nobody has taken it out.
        """
        stepped = set(stepped)
        for vector in self.vectors:
            # The last micro-batch of a step may have had no losses: `training_step` returned None.
            step = vector.open
            its = len(self.vectors) == 1 or not stepped.isdisjoint(vector.seen)
            if step is not None and step.pending and its and not self._fit.scaled:
                self._decide(vector, step)
        if self.ruling.bad and any(p.grad is not None and not _finite(p.grad) for p in stepped):
            raise not_finite("GradientSurgery: the gradient", self.ruling.bad, self._fit.step)
        done = self._written.forget(stepped)
        for vector in self.vectors:
            if len(self.vectors) == 1 or vector.open in done:
                vector.open = None

    # ---- parts of them

    def _open(self, vector: LossVector) -> Step:
        """The vector's step that is not done yet, or a new one."""
        if vector.open is not None and self._written.used(vector.open):
            self._written.drop(vector.open)
            vector.open = None
        if vector.open is None:
            reuse = vector.weights if vector.steps % self.every_n_steps else None
            vector.steps += 1
            vector.open = Step(len(vector.names), self._fit.device, None if reuse is None else reuse[0])
        return vector.open

    def _at_representation(
        self, graph: TaskGraph, losses: Tensor, vector: LossVector, step: Step, taps: Taps, retain: bool
    ) -> None:
        if self._fit.more_follows or step.begun or not graph.certain:
            raise ValueError(
                "GradientSurgery(at='representation') needs all rows of a step in one backward pass, losses made by "
                "torch.stack of one tensor per task, and heads outside of compiled blocks and one's own functions, "
                "whose outputs are not put together (cat, stack) before losses take them apart. Use "
                "at='parameters', or take the accumulation out; of a compiled network compile the trunk alone."
            )
        step.begun = True
        step.losses += self._fit.unscaled(losses.detach().double())
        boundary = descend(graph, self._fit.parameters(), taps.edges(graph))
        gramian = tapped_gramian(boundary.tapped, len(losses), losses.device)
        overflows = self._fit.scaled and not bool(gramian.isfinite().all())
        weigh = self.ruling.weigher(vector, step, collectives.mean(step.losses), overflows=overflows)
        (weights,) = weigh(gramian[None], torch.zeros(1, dtype=torch.int64, device=losses.device))
        boundary.backward(weights, retain_graph=retain)
        self._average_grads()

    def _average_grads(self) -> None:
        if collectives.world_size() > 1:
            global_gradients.average_grads(self._fit.parameters())

    def _decide(self, vector: LossVector, step: Step) -> None:
        """Puts the rule's gradient into ``.grad``."""
        gradients, losses = step.gradients, step.losses
        gradients.settle()
        if collectives.world_size() > 1:
            global_gradients.average(gradients, self._fit.parameters(), len(losses))
            losses = collectives.mean(losses)
        first = not vector.reached
        overflows = self._fit.scaled and not gradients.finite()
        vector.remember(gradients, keep=not overflows)
        if first and vector.reached:
            vector.say_what_is_shared(self._fit.parameters())
        step.pending = False
        for parameter, entry in gradients:
            if not entry.shared and (gradient := private(parameter, entry)) is not None:
                self._written.give(step, parameter, gradient)
        if any(entry.shared and parameter not in vector.groups.first for parameter, entry in gradients):
            self.vectors.grow(vector)
        for parameter, gradient in self.ruling.gradients(vector, step, losses, overflows=overflows).items():
            self._written.give(step, parameter, gradient)


def _finite(gradient: Tensor) -> bool:
    values = gradient._values() if gradient.is_sparse else gradient
    return bool(values.isfinite().all())
