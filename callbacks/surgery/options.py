"""Which rule surgery serves at which level and place."""

from collections.abc import Sequence
from typing import Any

from mtlzoo.callbacks.rules.base import GradientRule, LossRule


def check_options(
    rule: Any, level: str, at: str, every_n_steps: int, tables: Sequence[str] | None, others: str
) -> None:
    """Refuses options of `GradientSurgery` that don't go together.

    Raises:
        ValueError: What was found, and what is allowed.
    """
    _check_rule(rule)
    kind = type(rule).__name__
    weighs = not isinstance(rule, GradientRule)
    levels = ("model",) if getattr(rule, "whole", False) else ("model", "parameter", "row")
    if level not in levels:
        raise ValueError(f"level={level!r} with {kind}; allowed: {', '.join(levels)}.")
    if every_n_steps < 1 or (every_n_steps > 1 and not (level == "model" and weighs)):
        raise ValueError(
            f"every_n_steps={every_n_steps} with level={level!r} and {kind}; allowed are 1, or more with level='model' "
            "and a rule that gives weights."
        )
    if at not in ("parameters", "representation"):
        raise ValueError(f"at={at!r}; allowed are 'parameters' and 'representation'.")
    if at == "representation" and not (level == "model" and weighs):
        raise ValueError(
            f"at='representation' with level={level!r} and {kind}; allowed is level='model' with a rule that gives "
            "weights."
        )
    if others not in ("rule", "sum"):
        raise ValueError(f"others={others!r}; allowed are 'rule' and 'sum'.")
    if (others == "sum" or tables) and not (level == "row" and weighs):
        raise ValueError(
            f"others={others!r}, tables={tables} with level={level!r} and {kind}; allowed with level='row' and a rule "
            "that gives weights: nothing else tells tables from other parameters."
        )


def _check_rule(rule: Any) -> None:
    if isinstance(rule, LossRule):
        raise ValueError(f"{type(rule).__name__} weighs losses; use LossBalancing({type(rule).__name__}(...)).")
    if isinstance(rule, type) or not callable(rule):
        raise ValueError(f"rule={rule!r}: give an object, as in GradientSurgery(PCGrad()).")
    if any(base.__name__ == "Aggregator" for base in type(rule).__mro__):
        name = type(rule).__name__
        raise ValueError(f"{name} takes gradients, not a Gramian; use torchjd.aggregation.{name}Weighting.")
