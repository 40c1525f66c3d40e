"""Loads prepared columns for training: whole batches by slicing, and what is drawn beside them."""

from mtlzoo.datamodules.loading.batches import BatchLoader

__all__ = ("BatchLoader",)
