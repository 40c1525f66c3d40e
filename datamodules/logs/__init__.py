"""What is made of logs before they are prepared: side tables joined, cores, negatives, the past, a column of splits."""

from mtlzoo.datamodules.logs.k_core import core_of
from mtlzoo.datamodules.logs.side_tables import SideTable

__all__ = ("SideTable", "core_of")
