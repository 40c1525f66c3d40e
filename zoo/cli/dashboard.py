"""``mtlzoo dashboard``: W&B workspaces and a report of what the runs of a project logged."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from jsonargparse import ActionConfigFile  # type: ignore[attr-defined]  # public, but not in __all__

from mtlzoo.cli.parser import Parser
from mtlzoo.dashboard.shown import Logged, Shown, assumed, shown

KINDS = ("fit", "validate", "test")
"""Job types of trainings."""


def run(args: Sequence[str]) -> None:
    """Makes and saves the views, or prints their specifications."""
    parser = Parser(
        prog="mtlzoo dashboard",
        description="Saves a W&B workspace per data set and a report of a project's runs (docs/wandb.md).",
    )
    parser.add_argument("-c", "--config", action=ActionConfigFile, help="These options in a file.")
    parser.add_argument("--project", type=str, required=True, help="W&B project.")
    parser.add_argument("--entity", type=str | None, help="Team or user; yours if not given.")
    parser.add_argument("--tasks", type=list[str], default=[], help="Show these tasks, without asking what was logged.")
    parser.add_argument("--baseline", type=str, default="SingleTask", help="Model that others are compared with.")
    parser.add_argument("--dry_run", type=bool, default=False, help="Only print the specifications, as JSON.")
    options = parser.parse_args(list(args[1:]))
    workspace, report = _views()
    asks = not (options.tasks and options.dry_run)
    entity = options.entity or (_default_entity() if asks else "")
    found = [assumed(options.tasks)] if options.tasks else _logged(entity, options.project, options.baseline)
    views = [workspace(part, entity, options.project) for part in found] + [report(found, entity, options.project)]
    if options.dry_run:
        print(json.dumps([view._to_model().model_dump(mode="json", by_alias=True) for view in views], indent=2))
        return
    for view in views:
        view.save()
        print(f"Saved: {view.url}")


def _views() -> tuple[Any, Any]:
    try:
        from mtlzoo.dashboard.views import report, workspace
    except ModuleNotFoundError as error:
        raise ValueError(f"no {error.name}. Get it with: pip install 'mtlzoo[dashboard]'") from None
    return workspace, report


def _default_entity() -> str:
    import wandb

    return str(wandb.Api().default_entity)


def _logged(entity: str, project: str, baseline: str) -> list[Shown]:
    found = shown(_runs(entity, project), baseline)
    if not found:
        raise ValueError(
            f"--project {project}: {entity} has no runs of mtlzoo there. Train some with "
            "--trainer.logger+=WandbLogger, or say which tasks they will have: --tasks '[click, like]'."
        )
    return found


def _runs(entity: str, project: str) -> Iterator[Logged]:
    import wandb

    for run in wandb.Api().runs(f"{entity}/{project}", order="-created_at", lazy=False):
        if run.job_type in KINDS:
            yield Logged(run.id, run.config, run.summary_metrics)
