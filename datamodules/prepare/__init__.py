"""Prepares rows once: splits them, learns vocabularies and statistics from train, and keeps encoded columns on disk."""

from mtlzoo.datamodules.prepare.build import prepare
from mtlzoo.datamodules.prepare.prepared import PreparedData

__all__ = ("PreparedData", "prepare")
