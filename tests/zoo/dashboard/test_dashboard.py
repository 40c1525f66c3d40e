"""Workspaces and report of a project name what its runs logged, and nothing else."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wandb_backend import Run
from wandb_server import Server

from mtlzoo.cli import main

DATA = ["--data", "Synthetic", "--data.rows", "2000", "--data.users", "50", "--data.batch_size", "512"]
SMALL = [*DATA, "--trainer.accelerator", "cpu", "--trainer.max_epochs", "1", "--trainer.logger+=WandbLogger"]
WATCHED = ["--trainer.callbacks+=GradientSurgery", "--trainer.callbacks.rule=PCGrad"]
for name in ("ConflictMonitor", "StepCost", "GateMonitor"):
    WATCHED += [f"--trainer.callbacks+={name}", "--trainer.callbacks.every_n_steps=1"]
WATCHED += ["--trainer.callbacks+=EmbeddingMonitor"]
RUNS = {"SingleTask-s0": ["--model", "SingleTask"], "MMoE-PCGrad-s0": ["--model", "MMoE", *WATCHED]}
RUNS["MMoE-s1"] = ["--model", "MMoE", "--model.lr", "0.01", "--seed_everything", "1"]


def project(server: Server) -> list[Run]:
    """A few runs; the last of them is not tested."""
    for name, words in RUNS.items():
        main(["fit", *words, *SMALL])
        if name != "MMoE-s1":
            main(["test", "-c", str(Path(f"runs/Synthetic-{name}/version_0/config.yaml"))])
    return list(server.backend.runs.values())


def specs(server: Server) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for view in server.backend.views.values():
        yield view, json.loads(view["spec"])


def inside(value: Any) -> Iterator[dict[str, Any]]:
    """All mappings of a specification."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from inside(item)


def named(spec: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What panels, columns, order and filters name: section and name."""
    for part in inside(spec):
        for name in (*part.get("metrics", ()), part.get("xAxis"), part.get("yAxis"), *part.get("mediaKeys", ())):
            if name and not name.startswith("_"):
                section, colon, rest = name.partition(":")
                yield (section, rest) if colon else ("summary", name)
        for name in (*part.get("columnOrder", ()), part.get("accessor") or "run:name"):
            section, _, rest = name.partition(":")
            yield section, rest
        if part.get("groupBy"):
            yield "config", part["groupBy"]
        if "section" in part and isinstance(part.get("name"), str):
            yield part["section"], part["name"]


def check_names(spec: dict[str, Any], runs: list[Run]) -> set[str]:
    """Every name is one that was logged; returns them."""
    axes = {name for run in runs for row in run.history for name in row}
    logged = {
        "summary": {name for run in runs for name in run.summary} | axes,
        # Filters say ``data_name``, columns and groups ``data_name.value``: both as wandb-workspaces spells them.
        "config": {f"{name}{end}" for run in runs for name in run.options for end in ("", ".value")},
        "run": {"displayName", "name", "createdAt"},
    }
    found = set(named(spec))
    assert not [(section, name) for section, name in found if name not in logged[section]]
    return {name for _, name in found}


def panels(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [part for part in inside(spec) if "viewType" in part and "config" in part]


def check_nothing_twice(spec: dict[str, Any]) -> None:
    shown = []
    for panel in panels(spec):
        config = panel["config"]
        names = [*config.get("metrics", ()), *(c["accessor"] for c in config.get("columns", ()))]
        assert len(names) == len(set(names))
        if config.get("xAxis") != config.get("yAxis"):
            names += [config.get("xAxis"), config.get("yAxis")]
        shown.append((panel["viewType"], *map(str, names), *config.get("mediaKeys", ())))
    titles = [panel["config"].get("chartTitle") or panel["config"].get("chart_title") for panel in panels(spec)]
    assert len(shown) == len(set(shown))
    assert None not in titles
    feeds = [part["columnOrder"] for part in inside(spec) if "columnOrder" in part]
    assert all(len(columns) == len(set(columns)) for columns in feeds)


@pytest.mark.slow
def test_views_of_a_project_name_what_its_runs_logged(wandb_server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    runs = project(wandb_server)
    main(["dashboard", "--project", "mtlzoo", "--entity", "team"])
    assert capsys.readouterr().out.count("Saved: http") == 2
    (workspace, first), (report, second) = specs(wandb_server)
    assert (workspace["type"], workspace["displayName"]) == ("project-view", "mtlzoo Synthetic")
    assert (report["type"], report["displayName"]) == ("runs", "mtlzoo mtlzoo")
    wanted = {"test/is_click/auc", "val/auc_mean", "train/is_like/loss", "surgery/cosine/is_click_vs_is_like"}
    wanted |= {"test/is_click/calibration", "cost/rows_per_second", "surgery/conflicts", "model.lr.value", "epoch"}
    wanted |= {"gates/experts/is_click/entropy", "gates/weights", "embeddings/user_id/collapse", "embeddings/shapes"}
    for spec in (first, second):
        assert wanted | {"contender.value", "data_name"} <= check_names(spec, runs)
        check_nothing_twice(spec)
    (runset,) = first["section"]["runSets"]
    single = next(run for run in runs if run.options["model_name"] == "SingleTask")
    assert runset["baselineRunId"] == single.node()["id"]
    assert runset["pinnedRunIds"] == [single.node()["id"]]
    assert runset["runFeed"]["columnOrder"][:3] == [
        "run:displayName",
        "config:contender.value",
        "config:data_name.value",
    ]
    assert set(runset["runFeed"]["columnPinned"]) == set(runset["runFeed"]["columnOrder"])
    assert first["section"]["settings"]["maxRuns"] == 1000
    kinds = {panel["viewType"] for panel in panels(first)}
    assert {"Bar Chart", "Run History Line Plot", "Scatter Plot", "Parallel Coordinates Plot", "Media Browser"} <= kinds


def test_tasks_may_be_named_before_there_are_runs(capsys: pytest.CaptureFixture[str]) -> None:
    main(["dashboard", "--project", "p", "--tasks", "[click, stars/rmse]", "--dry_run", "true"])
    views = json.loads(capsys.readouterr().out)
    assert [view["displayName"] for view in views] == ["mtlzoo all data", "mtlzoo p"]
    for view in views:
        names = set(re.findall(r'"((?:val|test|train)/[^"]+)"', json.dumps([p["config"] for p in panels(view)])))
        assert {"test/click/auc", "val/stars/rmse", "val/auc_mean", "train/stars/loss"} <= names
        check_nothing_twice(view)


def test_says_how_to_get_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "mtlzoo.dashboard.views", raising=False)
    monkeypatch.delitem(sys.modules, "mtlzoo.dashboard.panels", raising=False)
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    with pytest.raises(ValueError, match=r"pip install 'mtlzoo\[dashboard\]'"):
        main(["dashboard", "--project", "p"])


def test_a_project_without_runs_says_what_to_do(wandb_server: Server) -> None:
    with pytest.raises(ValueError, match="has no runs of mtlzoo there"):
        main(["dashboard", "--project", "empty"])
