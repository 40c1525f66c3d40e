"""`ConflictMonitor`: the callback (`monitor`), and what it adds up (`facts`)."""

from mtlzoo.callbacks.conflicts.monitor import ConflictMonitor

__all__ = ["ConflictMonitor"]
