"""A comparison as a W&B sweep: its agents run the cells, one after the other, on any number of machines."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

COMMAND = ["${env}", "mtlzoo", "compare", "${args}"]
"""What an agent starts: ``mtlzoo compare --cell=FOLDER``, which trains and tests one cell."""


def sweep_of(cells: Iterable[Path], name: str) -> dict[str, Any]:
    """The definition of a sweep that runs every cell once.

    W&B sends options by the alphabet and can leave none out, so options of cells, some with a rule and some without,
    are not parameters of its own: the one parameter is the cell, whose folder knows its options.

    Args:
        cells: Folders of the cells, with cell.json in them; agents must see them under these paths.
        name: Of the sweep.

    Raises:
        ValueError: There are no cells.
    """
    folders = [str(path.absolute()) for path in cells]
    if not folders:
        raise ValueError(f"{name}: all cells are done; there is nothing to sweep over.")
    return {"name": name, "method": "grid", "command": COMMAND, "parameters": {"cell": {"values": folders}}}


def start_sweep(definition: dict[str, Any], project: str, entity: str | None) -> str:
    """Registers a sweep with W&B.

    Args:
        definition: See `sweep_of`.
        project: W&B project.
        entity: Team or user; yours if None.

    Returns:
        Path of the sweep, for ``wandb agent``: ``entity/project/id``.
    """
    import wandb

    found = wandb.sweep(definition, project=project, entity=entity)
    return f"{entity or wandb.Api().default_entity}/{project}/{found}"
