"""The numbers of every ``rules*.json`` in `MTLZOO_GOLDEN`, which torchjd, LibMTL and exact solvers gave."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

GOLDEN = Path(os.environ.get("MTLZOO_GOLDEN") or Path(__file__).parents[2] / "../shared/golden").absolute()
FILES = sorted(GOLDEN.glob("**/rules*.json"))
F64 = torch.float64
Entry = dict[str, Any]


def parametrized(section: str) -> pytest.MarkDecorator:
    """Every item of a section of every file; one skipped item where there is no file."""
    items = [
        pytest.param(name, entry, id=f"{path.stem}-{name}")
        for path in FILES
        for name, entry in json.loads(path.read_text())[section].items()
    ]
    missing = pytest.param(
        "", None, marks=pytest.mark.skip(reason=f"no rules.json at {GOLDEN}; set MTLZOO_GOLDEN"), id="none"
    )
    return pytest.mark.parametrize(("name", "entry"), items or [missing])


def tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=F64)


def finite(values: Any) -> bool:
    return values is not None and "null" not in json.dumps(values) and "error" not in json.dumps(values)
