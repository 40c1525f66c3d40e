"""One line about a rule or a callback."""

from inspect import Parameter, signature
from typing import Any

from torch import Tensor, nn

_LONGEST = 60


def described(made: Any) -> str:
    """Its class with the options that are not the default ones, as far as it keeps them under their names.

    Meant as a class's ``__repr__``.
    """
    kept = dict(vars(made))
    if isinstance(made, nn.Module):
        kept |= {**made._modules, **made._parameters, **made._buffers}
    options = [
        f"{name}={_short(kept[name])}"
        for name, parameter in signature(type(made).__init__).parameters.items()
        if name in kept and parameter.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
        if repr(kept[name]) not in ("None", "()", repr(parameter.default))
    ]
    return f"{type(made).__name__}({', '.join(options)})"


def _short(value: Any) -> str:
    text = repr(value.tolist() if isinstance(value, Tensor) else getattr(value, "__name__", value))
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
