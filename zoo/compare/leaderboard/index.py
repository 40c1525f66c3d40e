"""``cells.csv``: every tested cell of a comparison with what it measured, to compute anything again from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from mtlzoo.callbacks.atomic import whole_file
from mtlzoo.compare.results import Result


def write_cells(results: Sequence[Result], folder: Path) -> None:
    """Writes one line per cell: what it is, where it lies, its size and seconds, its test metrics.

    Args:
        results: The cells.
        folder: Of the comparison.
    """
    frame = pl.DataFrame([_line(result, folder) for result in results], infer_schema_length=None)
    with whole_file(folder / "cells.csv") as file:
        frame.write_csv(file)


def _line(result: Result, folder: Path) -> dict[str, Any]:
    record = result.record
    size = {f"{kind}_parameters": number for kind, number in record["parameters"].items()}
    seconds = {f"{command}_seconds": number for command, number in record["seconds"].items()}
    return {
        "data": result.data,
        "name": result.name,
        "model": result.model,
        "rule": result.rule,
        "seed": result.seed,
        "folder": str(result.folder.relative_to(folder.resolve())),
        "changed": " ".join(filter(None, (record["changed"], record["rule_options"]))),
        "data_fingerprint": record["data_fingerprint"],
        "mtlzoo": record["versions"]["mtlzoo"],
        "epoch": record["epoch"],
        **size,
        **seconds,
        **{name: float(value) for name, value in result.metrics.items()},
    }
