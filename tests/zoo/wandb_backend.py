"""What the stand-in for W&B's backend knows: runs, files, artifacts, views, sweeps, and its answers about them."""

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

ENTITY = "team"


@dataclass
class Run:
    """One run: what UpsertBucket said of it, and the lines of its files."""

    project: str
    name: str
    said: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    files: dict[str, dict[int, str]] = field(default_factory=dict)
    state: str = "running"

    @property
    def history(self) -> list[dict[str, Any]]:
        """Logged rows, in order."""
        return [json.loads(line) for _, line in sorted(self.files.get("wandb-history.jsonl", {}).items())]

    @property
    def summary(self) -> dict[str, Any]:
        """The last one that was sent."""
        lines = self.files.get("wandb-summary.json", {})
        return dict(json.loads(lines[max(lines)])) if lines else {}

    @property
    def options(self) -> dict[str, Any]:
        """The config, without wandb's own entries."""
        return {key: entry["value"] for key, entry in self.config.items() if key != "_wandb"}

    @property
    def series(self) -> dict[str, dict[float, float]]:
        """Per metric its value by ``trainer/global_step``."""
        return self.by("trainer/global_step")

    def by(self, axis: str) -> dict[str, dict[float, float]]:
        """Per metric its value by another; of one that has several at a place, the last."""
        found: dict[str, dict[float, float]] = {}
        for row in self.history:
            for key, value in row.items():
                if isinstance(value, int | float) and axis in row:
                    found.setdefault(key, {})[row[axis]] = value
        return found

    def stream(self, sent: dict[str, Any]) -> None:
        """Lines from an offset on, and whether the run has ended."""
        for file, part in sent.get("files", {}).items():
            first = part["offset"]
            self.files.setdefault(file, {}).update(enumerate(part["content"], first))
        if sent.get("complete") is not None and "exitcode" in sent:
            self.state = "failed" if sent["exitcode"] else "finished"

    def upsert(self, input: dict[str, Any]) -> None:
        """What a start, a resumption or a change of the config says."""
        self.said |= {key: value for key, value in input.items() if value is not None}
        if input.get("config"):
            self.config = json.loads(input["config"])
        if input.get("summaryMetrics"):
            self.files["wandb-summary.json"] = {0: input["summaryMetrics"]}

    def node(self) -> dict[str, Any]:
        """The run as queries see it."""
        lines = {
            f"{name}LineCount": len(self.files.get(file, {}))
            for name, file in {"history": "wandb-history.jsonl", "events": "wandb-events.jsonl"}.items()
        }
        keys = {key for row in self.history for key in row}
        return {
            "__typename": "Run",
            "id": identity("Run", "v1", self.name, self.project, ENTITY),
            "projectId": 1,
            "name": self.name,
            "displayName": self.said.get("displayName") or self.name,
            "config": json.dumps(self.config),
            "summaryMetrics": json.dumps(self.summary),
            "systemMetrics": "{}",
            "group": self.said.get("groupName"),
            "jobType": self.said.get("jobType"),
            "sweepName": self.said.get("sweep"),
            "tags": self.said.get("tags") or [],
            "state": self.state,
            "stopped": False,
            "createdAt": "2026-01-01T00:00:00Z",
            "heartbeatAt": "2026-01-01T00:00:00Z",
            "user": {"name": ENTITY, "username": ENTITY},
            "project": project_of(self.project),
            "wandbConfig": lambda **_: json.dumps(self.config.get("_wandb", {}).get("value", {})),
            "historyTail": json.dumps([json.dumps(row) for row in self.history[-1:]]),
            "eventsTail": "[]",
            "logLineCount": len(self.files.get("output.log", {})),
            "historyKeys": {"lastStep": len(self.history), "keys": {key: {"typeCounts": []} for key in keys}},
            "history": lambda **_: [json.dumps(row) for row in self.history],
            "sampledHistory": lambda specs=(), **_: [self._sampled(json.loads(spec)) for spec in specs],
            **lines,
        }

    def _sampled(self, spec: dict[str, Any]) -> list[dict[str, Any]]:
        keys = spec.get("keys", [])
        return [{key: row[key] for key in keys} for row in self.history if all(key in row for key in keys)]


def identity(*parts: str) -> str:
    """An id as W&B forms them."""
    return base64.b64encode(":".join(parts).encode()).decode()


def project_of(name: str) -> dict[str, Any]:
    """A project as part of something."""
    return {
        "__typename": "Project",
        "id": identity("Project", name),
        "createdAt": "2026-01-01T00:00:00Z",
        "isBenchmark": False,
        "internalId": "1",
        "name": name,
        "entityName": ENTITY,
        "entity": {"id": identity("Entity", ENTITY), "name": ENTITY},
    }


def edges(nodes: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """A page that is the last one."""
    listed = [{"node": node, "cursor": str(place)} for place, node in enumerate(nodes)]
    page = {"__typename": "PageInfo", "endCursor": str(len(listed)), "hasNextPage": False}
    return {"edges": listed, "totalCount": len(listed), "pageInfo": page}


class Runs:
    """Runs, and questions about a project.

    Attributes:
        url: Where files may be sent to.
        runs: By project and id.
        views: Workspaces and reports, by id.
        sweeps: By id.
    """

    def __init__(self) -> None:
        self.url = ""
        self.runs: dict[tuple[str, str], Run] = {}
        self.views: dict[str, dict[str, Any]] = {}
        self.sweeps: dict[str, dict[str, Any]] = {}

    def run(self, project: str, name: str) -> Run:
        """A run, which begins where there is none."""
        return self.runs.setdefault((project, name), Run(project, name))

    # ---- queries

    def do_viewer(self) -> dict[str, Any]:
        """The owner of the key."""
        teams = edges([{"name": ENTITY, "id": identity("Entity", ENTITY)}])
        name = {"entity": ENTITY, "username": ENTITY, "name": ENTITY, "email": "a@b.c"}
        return {"id": identity("User", ENTITY), "flags": "{}", "teams": teams, "apiKeys": edges([]), **name}

    def do_entity(self, **_: Any) -> dict[str, Any]:
        """Of no organisation."""
        return {"id": identity("Entity", ENTITY), "name": ENTITY, "organization": None}

    def do_server_info(self) -> dict[str, Any]:
        """A server without the newer features."""
        return {"features": [], "cliVersionInfo": {}, "latestLocalVersionInfo": None}

    def do_project(self, name: str, **_: Any) -> dict[str, Any] | None:
        """A project is there when it has anything."""
        return {**project_of(name), **self._inside(name)}

    def do_models(self, **_: Any) -> dict[str, Any]:
        """All projects."""
        return edges(project_of(name) for name in dict.fromkeys(place for place, _ in self.runs))

    def _inside(self, project: str) -> dict[str, Any]:
        runs = [run for (place, _), run in self.runs.items() if place == project]

        def one(name: str = "", **_: Any) -> dict[str, Any] | None:
            return self.runs[project, name].node() if (project, name) in self.runs else None

        return {
            "bucket": one,
            "run": one,
            "runs": lambda **_: edges(run.node() for run in runs),
            "runCount": lambda **_: len(runs),
            "readOnly": False,
            "allViews": lambda **_: edges(self.views.values()),
            "sweep": lambda **said: self.sweeps.get(said["sweepName"]),
        }

    # ---- runs

    def do_upsert_bucket(self, input: dict[str, Any]) -> dict[str, Any]:
        """A run begins, goes on, or says more."""
        project, name = input.get("modelName"), input.get("name")
        if input.get("id"):
            _, _, name, project, _ = base64.b64decode(input["id"]).decode().split(":")
        inserted = (project, name) not in self.runs
        run = self.run(str(project or "uncategorized"), str(name))
        run.upsert(input)
        return {"bucket": run.node(), "inserted": inserted}

    def do_create_run_files(self, input: dict[str, Any]) -> dict[str, Any]:
        """Addresses for a run's files."""
        place = f"/files/{input['projectName']}/{input['runName']}"
        listed = [{"name": file, "uploadUrl": f"{self.url}{place}/{file}"} for file in input["files"]]
        return {"runID": input["runName"], "uploadHeaders": [], "files": listed}
