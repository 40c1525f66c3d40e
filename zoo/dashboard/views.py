"""Workspaces and a report of a project, made of panels."""

from collections.abc import Sequence
from typing import Any

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws

from mtlzoo.dashboard.panels import MANY, flat, sections
from mtlzoo.dashboard.shown import Shown

WHO = ("contender", "data_name", "seed")
"""Flat options that stand first in the table of runs."""
NOTE = (
    "One run per training, written by `mtlzoo`. Bars and curves are means over the runs of a contender (model and "
    "rule), their bands standard deviations over seeds. W&B draws them from a sample where there are more than 100 "
    "runs: for numbers with intervals and tests take the leaderboard run (`mtlzoo compare FILE --wandb PROJECT`)."
)


def columns(shown: Shown) -> list[str]:
    """The table's first columns: what a run is, and its test."""
    mean = shown.mean("test")
    names = [*([mean] if mean else []), *shown.of("test")]
    return ["run:displayName", *map(flat, WHO), *(f"summary:{name}" for name in names)]


def runs_of(shown: Shown) -> str:
    """The filter that leaves the trainings on the data set."""
    return "" if shown.data is None else f"Config('data_name') = '{shown.data}'"


def workspace(shown: Shown, entity: str, project: str) -> ws.Workspace:
    """The workspace of a data set."""
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"mtlzoo {shown.data or 'all data'}",
        sections=[
            ws.Section(
                name=title,
                panels=panels,
                is_open=True,
                layout_settings=ws.SectionLayoutSettings(columns=3, rows=-(-len(panels) // 3)),
            )
            for title, panels in sections(shown).items()
        ],
        settings=ws.WorkspaceSettings(max_runs=MANY, smoothing_type="none"),
        runset_settings=ws.RunsetSettings(
            filters=runs_of(shown), pinned_columns=columns(shown), baseline_run=shown.baseline
        ),
    )


def report(all_shown: Sequence[Shown], entity: str, project: str) -> wr.Report:
    """One report with a grid of panels per data set."""
    blocks: list[Any] = [wr.MarkdownBlock(text=NOTE), wr.TableOfContents()]
    for shown in all_shown:
        blocks.append(wr.H1(text=shown.data or project))
        for title, panels in sections(shown).items():
            runs = wr.Runset(entity=entity, project=project, name=title, filters=runs_of(shown))
            blocks += [wr.H2(text=title), wr.PanelGrid(runsets=[runs], panels=panels)]
    return wr.Report(entity=entity, project=project, title=f"mtlzoo {project}", blocks=blocks, width="fluid")
