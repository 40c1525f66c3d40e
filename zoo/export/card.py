"""The card of an exported model: what it is, what it was trained on, what it was measured at, how it is used."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch

import mtlzoo.datamodules
from mtlzoo.training.resumable import ResumableModule
from mtlzoo.version import __version__

HEAD = """\
---
library_name: mtlzoo
tags: [multi-task-learning, recommender-systems]
---
"""
"""What hubs read of a card."""
USE = """\
## Use

```python
import mtlzoo

model = mtlzoo.load("DIR")  # this folder
answers = model.predict(frame)  # raw rows of pandas, polars, Arrow or dictionaries; one column per task
```
"""


def card(
    model: ResumableModule, encoding: Path | None, metrics: Mapping[str, float], remarks: Mapping[str, str]
) -> str:
    """The card as Markdown.

    Args:
        model: The model.
        encoding: Folder of what was learned of its data.
        metrics: Of its test, by full name.
        remarks: What is to be known of a format, by its name.
    """
    made = {} if encoding is None else json.loads((encoding / "manifest.json").read_text())
    kind, data = type(model).__name__, made.get("name", "data of your own")
    schema = model.schema
    parameters = sum(weight.numel() for weight in model.parameters())
    rows = {
        "model": f"`{type(model).__module__}.{type(model).__qualname__}`, {parameters:,} parameters",
        "tasks": ", ".join(f"{task.name} ({task.kind})" for task in schema.tasks),
        "features": ", ".join(feature.name for feature in schema.features),
        "data": _data(data, made),
        "fingerprint": (model.trained_on or {}).get("fingerprint", "none"),
        "versions": f"mtlzoo {__version__}, torch {torch.__version__}, lightning {lightning.__version__}",
    }
    measured = {name: value for name, value in metrics.items() if value is not None and math.isfinite(value)}
    table = [f"| {name} | {value:.6g} |" for name, value in measured.items()]
    parts = [
        f"{HEAD}\n# {kind} on {data}\n",
        "\n".join(["| | |", "|---|---|", *(f"| {name} | {_cell(text)} |" for name, text in rows.items())]) + "\n",
        *(["## Measured\n", "\n".join(["| metric | value |", "|---|---|", *table]) + "\n"] if table else []),
        *(f"## {name}\n\n{remark}\n" for name, remark in remarks.items()),
        USE,
        f"## Licence\n\n{_licence(data)}\n",
    ]
    return "\n".join(parts)


def _data(name: str, made: Mapping[str, Any]) -> str:
    rows = ", ".join(f"{split} {count:,}" for split, count in made.get("rows", {}).items())
    return f"{name}; rows: {rows}" if rows else name


def _licence(data: str) -> str:
    """What binds the data, and so perhaps what was learned of them; only of data sets that are known here."""
    kind = getattr(mtlzoo.datamodules, data, None) if data in mtlzoo.datamodules.__all__ else None
    licence, citation = (getattr(kind, name, "") for name in ("licence", "citation"))
    if not licence or licence == "that of your data":
        return "That of your data, and what you decide."
    return f"The data: {licence}. Citation: {citation}. What was learned of them may be bound by it."


def _cell(text: Any) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")
