"""The rest of the stand-in for W&B's backend: artifacts, workspaces and reports, sweeps and their agents."""

import base64
import hashlib
import itertools
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

import yaml
from wandb_backend import Runs, edges, identity, project_of


class Artifacts(Runs):
    """Artifacts: announced, their manifest and files put at addresses that were given out, then committed.

    Attributes:
        artifacts: By id.
        stored: Bytes by path.
    """

    def __init__(self) -> None:
        super().__init__()
        self.artifacts: dict[str, dict[str, Any]] = {}
        self.stored: dict[str, bytes] = {}
        self._numbers = itertools.count(1)

    def do_create_artifact(self, input: Mapping[str, Any]) -> dict[str, Any]:
        """The same content under the same name is the same artifact."""
        name = input["artifactCollectionName"]
        key = identity("Artifact", input["projectName"], name, input["digest"])
        new = {
            "id": key,
            "name": name,
            "type": input["artifactTypeName"],
            "digest": input["digest"],
            "run": input.get("runName"),
            "aliases": [alias["alias"] for alias in input.get("aliases") or ()],
            "state": "PENDING",
            "files": {},
            "artifactSequence": {"id": identity("Sequence", name), "name": name, "latestArtifact": None},
        }
        return {"__typename": "CreateArtifactPayload", "artifact": self.artifacts.setdefault(key, new)}

    def do_create_artifact_manifest(self, input: Mapping[str, Any]) -> dict[str, Any]:
        """An address for the list of its files."""
        path = f"/manifests/{next(self._numbers)}"
        self.artifacts[input["artifactID"]]["manifest"] = path
        file = {"id": path, "uploadUrl": self.url + path, "uploadHeaders": []}
        return {"artifactManifest": {"id": identity("Manifest", path, input["artifactID"]), "file": file}}

    def do_update_artifact_manifest(self, input: Mapping[str, Any]) -> dict[str, Any]:
        """The list is complete; it may come to another address."""
        _, _, artifact = base64.b64decode(input["artifactManifestID"]).decode().split(":")
        return self.do_create_artifact_manifest({"artifactID": artifact})

    def do_create_artifact_files(self, input: Mapping[str, Any]) -> dict[str, Any]:
        """An address per file."""
        nodes = []
        for file in input["artifactFiles"]:
            path = f"/artifacts/{next(self._numbers)}/{file['name']}"
            self.artifacts[file["artifactID"]]["files"][file["name"]] = path
            nodes.append(
                {
                    "id": path,
                    "name": file["name"],
                    "storagePath": path,
                    "uploadUrl": self.url + path,
                    "uploadHeaders": [],
                    "artifact": {"id": file["artifactID"]},
                }
            )
        return {"files": edges(nodes)}

    def do_commit_artifact(self, input: Mapping[str, Any]) -> dict[str, Any]:
        """All is there."""
        artifact = self.artifacts[input["artifactID"]]
        artifact["state"] = "COMMITTED"
        return {"artifact": artifact}

    def content(self, name: str) -> dict[str, bytes]:
        """Files of the committed artifact of a name, by their name in it.

        Raises:
            StopIteration: There is none.
        """
        found = next(a for a in self.artifacts.values() if a["name"] == name and a["state"] == "COMMITTED")
        return {file: self.stored[path] for file, path in found["files"].items()}


class Backend(Artifacts):
    """All that was sent, and the roots of what can be asked.

    Attributes:
        asked: Texts of all GraphQL requests.
        failures: What could not be answered.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.RLock()
        self.asked: list[str] = []
        self.failures: list[str] = []

    def root(self) -> dict[str, Callable[..., Any]]:
        """What answers, by the name of a query's or mutation's first field."""
        own = {camel(name[3:]): getattr(self, name) for name in dir(self) if name.startswith("do_")}
        return own | {"model": own["project"]}

    # ---- views

    def do_upsert_view(self, input: Mapping[str, Any]) -> dict[str, Any]:
        """A workspace or a report; its spec is kept as it came."""
        given = input.get("id")
        key = given or identity("View", str(input.get("projectName")), str(len(self.views)))
        said = {name: value for name, value in input.items() if value is not None}
        view = self.views.setdefault(key, {"project": project_of(str(input.get("projectName")))})
        view.update({**said, "id": key, "updatedAt": "2026-01-01T00:00:00Z"})
        return {"view": view, "inserted": given is None}

    def do_view(self, id: str) -> dict[str, Any] | None:
        """A view."""
        return self.views.get(id)

    # ---- sweeps

    def do_upsert_sweep(self, input: Mapping[str, Any]) -> dict[str, Any]:
        """A sweep over a grid, or none yet."""
        name = f"sweep{len(self.sweeps)}"
        config = yaml.safe_load(input["config"])
        self.sweeps[name] = {
            "id": identity("Sweep", name),
            "name": name,
            "method": config["method"],
            "state": "RUNNING",
            "config": input["config"],
            "project": project_of(input["projectName"]),
            "runs": edges([]),
            "runCount": 0,
            "left": list(grid(config)),
        }
        return {"sweep": self.sweeps[name], "configValidationWarnings": []}

    def do_create_agent(self, input: Mapping[str, Any]) -> dict[str, Any]:
        """An agent of a sweep."""
        return {"agent": {"id": input["sweep"]}}

    def do_agent_heartbeat(self, input: Mapping[str, Any]) -> dict[str, Any]:
        """The next run, where the agent has none; after the last one, the end."""
        sweep = self.sweeps[input["id"]]
        commands: list[dict[str, Any]] = []
        if not any(json.loads(input["runState"]).values()):
            commands = [{"type": "exit"}] if not sweep["left"] else [self._command(sweep)]
        sweep["state"] = "FINISHED" if commands == [{"type": "exit"}] else "RUNNING"
        return {"agent": {"id": input["id"]}, "commands": json.dumps(commands)}

    def _command(self, sweep: dict[str, Any]) -> dict[str, Any]:
        arguments = {name: {"value": value} for name, value in sweep["left"].pop(0).items()}
        run = hashlib.sha256(json.dumps([sweep["name"], arguments]).encode()).hexdigest()[:8]
        program = yaml.safe_load(sweep["config"]).get("program", "")
        return {"type": "run", "run_id": run, "program": program, "args": arguments}


def camel(name: str) -> str:
    """``upsert_bucket`` as GraphQL spells it: ``upsertBucket``."""
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def grid(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Points of a grid, as W&B sends them: parameters by the alphabet."""
    assert config["method"] == "grid"
    parameters = sorted(config["parameters"].items())
    choices = [one["values"] if "values" in one else [one["value"]] for _, one in parameters]
    return [dict(zip((n for n, _ in parameters), point, strict=True)) for point in itertools.product(*choices)]
