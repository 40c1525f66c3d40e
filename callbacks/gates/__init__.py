"""`GateMonitor`: the callback (`monitor`), which gates there are (`names`), and what is added up (`facts`)."""

from mtlzoo.callbacks.gates.monitor import GateMonitor

__all__ = ["GateMonitor"]
