"""`GradientSurgery`: any rule on the gradients of several tasks, in any Lightning project.

The callback (`callback`, `options`) sets off the backward pass (`operation`), which knows of Lightning only what `fit`
tells. The losses' way through it:

    losses -> who reaches what (graph, certainty) -> whose losses they are (loss_vectors, loss_vector, step)
      -> gradients by task (task_gradients, passes, lookups, rows, reals)
      -> of all processes (global_gradients, merging) -> Gramians (groups, gramians)
      -> the rule's weights (ruling, norm_log) -> one gradient (combine) -> .grad (written)

With known weights, or a Gramian at the outputs of shared modules (taps), heads and the shared part meet at `boundary`.
"""

from mtlzoo.callbacks.surgery.callback import GradientSurgery, Rule

__all__ = ["GradientSurgery", "Rule"]
