"""Gets a publisher's files: downloads, unpacks, finds them, and says how far it is."""

from mtlzoo.datamodules.download.fetch import download
from mtlzoo.datamodules.download.publisher import obtain

__all__ = ("download", "obtain")
