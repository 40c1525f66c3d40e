"""Which modules of a network are gates, and what they and their experts are called."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import nn

from mtlzoo.callbacks.handover import task_names


class GateNames(NamedTuple):
    """What one gate is called, in metrics and tables.

    Args:
        layer: What it is a part of; gates of one layer weigh the same experts, or some of them.
        task: For whom it weighs.
        experts: Names in the order of its outputs; with none they are numbered.
    """

    layer: str
    task: str
    experts: Sequence[str] = ()


def gates_of(module: nn.Module, names: Sequence[str] | None) -> dict[str, GateNames]:
    """The gates of a network, by name of module.

    Args:
        module: The network. Its attribute (or method) `gate_modules`, if it has one, is a mapping from names of modules
            to tuples as of `GateNames`.
        names: Names of modules that are gates, in place of that. What stands before the last dot is the layer, the rest
            the task; a number means that of the network's `task_names`.

    Raises:
        ValueError: A name that is none of its modules', or nothing says which modules are gates.
    """
    if names is not None:
        tasks = task_names(module) or []
        known = dict(module.named_modules())
        if wrong := [name for name in names if name not in known or not name]:
            raise ValueError(f"GateMonitor: modules={wrong} are no modules of {type(module).__name__}. {_some(known)}")
        return {name: _by_place(name, tasks) for name in names}
    declared: Any = getattr(module, "gate_modules", None)
    declared = declared() if callable(declared) else declared
    if not isinstance(declared, Mapping):
        known = dict(module.named_modules())
        raise ValueError(
            f"GateMonitor: nothing says which modules of {type(module).__name__} are gates. Name those whose output is "
            f"a softmax over experts: GateMonitor(modules=['gates.0', 'gates.1']). {_some(known)}"
        )
    return {name: GateNames(*names) for name, names in declared.items()}


def _by_place(name: str, tasks: Sequence[str]) -> GateNames:
    layer, _, last = name.rpartition(".")
    return GateNames(layer or "gates", tasks[int(last)] if last.isdigit() and int(last) < len(tasks) else last)


def _some(known: Mapping[str, nn.Module], most: int = 12) -> str:
    names = [name for name in known if name]
    return f"Its modules are {', '.join(names[:most])}" + (f" and {len(names) - most} more." if names[most:] else ".")
