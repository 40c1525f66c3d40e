"""Answers of an exported model without torch and lightning: `load` and `ServedModel`."""

from mtlzoo.serving.model import ServedModel, load

__all__ = ("ServedModel", "load")
