"""The leaderboard run: a W&B run that holds a comparison's own numbers, pictures and page."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

TABLE = "leaderboard"
"""Name of the table in the run, in which a row is one of `mtlzoo.compare`'s leaderboard."""


def log_leaderboard(
    project: str,
    entity: str | None,
    group: str,
    rows: Sequence[Mapping[str, Any]],
    page_path: Path | None,
    pictures: Mapping[str, Path],
) -> str:
    """Logs a comparison to its W&B run, the same one every time: W&B's own means are the source of no number.

    Args:
        project: W&B project.
        entity: Team or user; yours if None.
        group: What the comparison is called; with the project it is the run's identity.
        rows: Of the leaderboard, all with the same names.
        page_path: Its HTML page, where there is one.
        pictures: Image files by name.

    Returns:
        Id of the run.

    Raises:
        ValueError: There are no rows.
    """
    if not rows:
        raise ValueError(f"{group}: no cell is finished, so there is no leaderboard to send to W&B.")
    import wandb

    columns = list(rows[0])
    cells: list[Iterable[Any]] = [[row[column] for column in columns] for row in rows]
    logged: dict[str, Any] = {TABLE: wandb.Table(columns=[*columns], data=cells)}
    logged |= {f"pictures/{name}": wandb.Image(str(path)) for name, path in pictures.items()}
    if page_path is not None:
        logged["page"] = wandb.Html(page_path.read_text(encoding="utf-8"), inject=False)
    with wandb.init(
        project=project,
        entity=entity,
        dir=None if page_path is None else page_path.parent,
        id=identity(project, group),
        resume="allow",
        name=f"leaderboard {group}",
        group=group,
        job_type="leaderboard",
    ) as run:
        run.log(logged)
        if page_path is not None:
            page = wandb.Artifact(f"page-{run.id}", type="page")
            page.add_file(str(page_path))
            run.log_artifact(page)
        return str(run.id)


def identity(project: str, group: str) -> str:
    """Id of the leaderboard run of a comparison."""
    return "leaderboard-" + hashlib.sha256(f"{project}/{group}".encode()).hexdigest()[:8]
