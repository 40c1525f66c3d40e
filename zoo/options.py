"""Options of dataclasses, checked by their annotations when one is made, so that a typo never means something else."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

_MISFIT: Final = object()
_PLAIN: dict[type, str] = {str: "texts", int: "whole numbers", float: "finite numbers", bool: "true and false"}


@dataclass(frozen=True)
class Range:
    """What numbers may be, or how long texts may be, in ``Annotated[int, Range(1)]``; both ends belong to it."""

    least: float
    most: float = math.inf

    def __str__(self) -> str:
        return f">= {self.least}" if self.most == math.inf else f"from {self.least} to {self.most}"


def check_options(made: object) -> None:
    """Checks the fields of a frozen dataclass; called in its ``__post_init__``.

    Numbers of NumPy become Python's, lists become tuples. Known are literals, texts, numbers, booleans, None, other
    classes, tuples of one type, unions of these, and `Range`.

    Raises:
        ValueError: A value that its annotation does not allow: what was found, what is allowed, and the nearest to it.
    """
    for name, hint in _hints(type(made)).items():
        found = getattr(made, name)
        fitting = _fit(found, hint)
        if fitting is _MISFIT:
            raise ValueError(f"{_called(made)}: {name}={found!r}; allowed are {_allowed(hint)}.{_nearest(found, hint)}")
        if fitting is not found:
            object.__setattr__(made, name, fitting)


class Declared:
    """Base of frozen dataclasses that are checked when one is made: a wrong name, value or type is a `ValueError`."""

    def __post_init__(self) -> None:
        check_options(self)


def refuse_unknown(name: object, allowed: Iterable[str], what: str) -> None:
    """Refuses a name that is not among those allowed, and tells the nearest one."""
    allowed = list(allowed)
    if name not in allowed:
        raise ValueError(f"{what} {name!r} is unknown; allowed are {allowed}.{did_you_mean(name, allowed)}")


def did_you_mean(name: object, allowed: Iterable[str]) -> str:
    """A hint at the nearest of the allowed names, whatever their case, or nothing where none is near."""
    spelt = {each.lower(): each for each in allowed}
    close = get_close_matches(str(name).lower(), list(spelt), n=1, cutoff=0.5)
    return f" Did you mean {spelt[close[0]]!r}?" if close else ""


def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in fields(kind)}


def _called(made: object) -> str:
    name = getattr(made, "name", "") or getattr(made, "column", "")
    return f"{type(made).__name__} {name!r}" if name else type(made).__name__


def _fit(value: Any, hint: Any) -> Any:
    """The value as the hint wants it, or `_MISFIT`."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        fitting = _fit(value, parts[0])
        size = len(fitting) if isinstance(fitting, str | tuple) else fitting
        ok = fitting is not _MISFIT and parts[1].least <= size <= parts[1].most
        return fitting if ok else _MISFIT
    if origin is Literal:
        return value if any(value == part and type(value) is type(part) for part in parts) else _MISFIT
    if origin in (Union, UnionType):
        return next((fitting for part in parts if (fitting := _fit(value, part)) is not _MISFIT), _MISFIT)
    if origin in (tuple, Sequence):
        fitting = tuple(_fit(one, parts[0]) for one in value) if isinstance(value, list | tuple) else (_MISFIT,)
        return _MISFIT if any(one is _MISFIT for one in fitting) else _same(value, fitting)
    if hint is int and isinstance(value, Integral) and not isinstance(value, bool):
        return _same(value, int(value))
    if hint is float and isinstance(value, Real) and not isinstance(value, bool):
        plain = value if isinstance(value, int | float) else float(value)
        return _same(value, plain) if math.isfinite(plain) else _MISFIT
    fits = hint not in (int, float) and isinstance(value, hint)
    return value if fits else _MISFIT


def _same(value: Any, fitting: Any) -> Any:
    return value if type(value) is type(fitting) else fitting


def _allowed(hint: Any) -> str:
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        if parts[0] is str:
            return "texts that are not empty"
        return f"{_allowed(parts[0])} {parts[1]}"
    if origin is Literal:
        return ", ".join(map(repr, parts))
    if origin in (Union, UnionType):
        return " or ".join(_allowed(part) for part in parts)
    if origin in (tuple, Sequence):
        return f"lists of {_allowed(parts[0])}"
    return "None" if hint is NoneType else _PLAIN.get(hint, hint.__name__)


def _nearest(found: Any, hint: Any) -> str:
    choices = get_args(hint) if get_origin(hint) is Literal else ()
    return did_you_mean(found, choices) if isinstance(found, str) and choices else ""
