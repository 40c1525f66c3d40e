"""What every benchmark writes: a table on the screen, and ``results/<name>.json`` with the machine it is from."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    *("torch", "lightning", "torchmetrics", "polars", "pyarrow", "numpy"),
    *("torch-rechub", "deepctr-torch", "fuxictr", "nextrec", "torchjd"),
)


def environment() -> dict[str, Any]:
    """Date, processor, threads and versions."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def write(
    name: str,
    options: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    folder: Path = RESULTS,
    **more: Any,
) -> None:
    """Writes ``<name>.json``, whole or not at all: the environment, the options, the table and what else there is."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = {"benchmark": name, "environment": environment(), "options": dict(options), "rows": list(rows), **more}
    draft = folder / f"{name}.json.new"
    draft.write_text(json.dumps(plain, indent=1) + "\n")
    draft.replace(folder / f"{name}.json")


def show(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Prints rows that have the same keys."""
    table = Table(title=title)
    for column in rows[0]:
        table.add_column(column, justify="left" if isinstance(rows[0][column], str) else "right")
    for row in rows:
        table.add_row(*(_text(value) for value in row.values()))
    Console(width=160).print(table)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, float | int):
        return str(value)
    return f"{value:,.3g}" if isinstance(value, float) and abs(value) < 1000 else f"{value:,.0f}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
