"""`push_to_hub` and `from_pretrained("user/repo")`, with a folder in the hub's place; no network."""

import shutil
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import torch
from every_model import build
from huggingface_hub.errors import LocalEntryNotFoundError

import mtlzoo
from mtlzoo import MMoE


class Hub:
    """Repositories as folders; what is uploaded and downloaded goes as the hub's client says."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked: list[dict[str, Any]] = []

    def HfApi(self, **options: Any) -> "Hub":  # noqa: N802  # the client's name
        self.asked.append(options)
        return self

    def create_repo(self, repo: str, *, private: bool | None, exist_ok: bool) -> Any:
        (self.root / repo).mkdir(parents=True, exist_ok=exist_ok)
        self.asked.append({"private": private})
        return huggingface_hub.RepoUrl(f"https://huggingface.co/{repo}")

    def upload_folder(
        self, *, repo_id: str, folder_path: Path, commit_message: str, delete_patterns: list[str]
    ) -> None:
        target = self.root / repo_id
        for path in [path for path in target.rglob("*") if path.is_file()]:
            if any(fnmatch(path.relative_to(target).as_posix(), pattern) for pattern in delete_patterns):
                path.unlink()
        shutil.copytree(folder_path, target, dirs_exist_ok=True)

    def snapshot_download(self, repo: str, *, allow_patterns: list[str], **options: Any) -> str:
        self.asked.append(options)
        source, snapshot = self.root / repo, self.root / "cache" / repo
        if not source.is_dir():
            raise LocalEntryNotFoundError("no such repository, and no network")
        shutil.rmtree(snapshot, ignore_errors=True)
        for path in [path for path in source.rglob("*") if path.is_file()]:
            name = path.relative_to(source)
            if any(fnmatch(name.as_posix(), pattern) for pattern in allow_patterns):
                (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
                (snapshot / name).symlink_to(path)  # as its cache does
        return str(snapshot)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: None) -> Hub:
    hub = Hub(tmp_path / "hub")
    monkeypatch.setattr(huggingface_hub, "HfApi", hub.HfApi)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
    return hub


def test_a_model_goes_there_and_comes_back(answering: SimpleNamespace, hub: Hub) -> None:
    model = mtlzoo.load(answering.exported)
    (hub.root / "me/clicks").mkdir(parents=True)
    (hub.root / "me/clicks/notes.txt").write_text("mine")
    (hub.root / "me/clicks/model.onnx").write_text("of an earlier export")
    assert model.push_to_hub("me/clicks", private=True, token="t") == "https://huggingface.co/me/clicks"
    assert hub.asked == [{"token": "t", "library_name": "mtlzoo"}, {"private": True}]
    there = sorted(path.name for path in (hub.root / "me/clicks").iterdir())
    files = ["README.md", "card.md", "config.yaml", "encoding", "files.json", "model.safetensors", "notes.txt"]
    assert there == [*files, "schema.json"]
    found = MMoE.from_pretrained("me/clicks", revision="v1")
    assert hub.asked[-1] == {"revision": "v1", "token": None}
    assert found.predict(answering.new).equals(model.predict(answering.new))
    assert not (Path(str(found.loaded_from)) / "README.md").exists()


def test_a_folder_comes_first_and_what_is_nowhere_is_said(toy: ModuleType, hub: Hub, tmp_path: Path) -> None:
    model = build(toy, "MMoE")
    model.save_pretrained(tmp_path / "me/clicks")
    found = MMoE.from_pretrained("me/clicks")
    assert not hub.asked
    assert all(torch.equal(value, found.state_dict()[name]) for name, value in model.state_dict().items())
    with pytest.raises(ValueError, match=r"me/none is no folder here, and the hub did not give it: no such repository"):
        MMoE.from_pretrained("me/none")
    with pytest.raises(ValueError, match=r"none is no folder\. Give one that"):
        MMoE.from_pretrained("none")


def test_what_lies_there_is_checked_like_every_folder(toy: ModuleType, hub: Hub) -> None:
    build(toy, "MMoE").push_to_hub("me/clicks")
    (hub.root / "me/clicks/schema.json").write_text("{}")
    with pytest.raises(ValueError, match=r"is damaged: schema\.json is not the file that was exported"):
        MMoE.from_pretrained("me/clicks")
