"""`GradientSurgery`: the callback (`callback`) and, apart from Lightning, what makes its gradients (all else)."""

from mtlzoo.callbacks.surgery.callback import GradientSurgery, Rule

__all__ = ["GradientSurgery", "Rule"]
