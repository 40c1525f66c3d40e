"""Reads files of a publisher or a user into frames with named columns, block by block, and refuses what is damaged."""

from mtlzoo.datamodules.reading.json_lines import read_json_lines
from mtlzoo.datamodules.reading.tables import read_csv, read_parquet

__all__ = ("read_csv", "read_json_lines", "read_parquet")
