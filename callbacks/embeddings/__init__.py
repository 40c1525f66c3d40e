"""`EmbeddingMonitor`: the callback (`monitor`), which tables there are (`tables`), what one is like (`shape`)."""

from mtlzoo.callbacks.embeddings.monitor import EmbeddingMonitor

__all__ = ["EmbeddingMonitor"]
