"""`ConflictMonitor`: the callback (`monitor`), what it adds up (`facts`), and how that is drawn (`heat_map`)."""

from mtlzoo.callbacks.conflicts.monitor import ConflictMonitor

__all__ = ["ConflictMonitor"]
