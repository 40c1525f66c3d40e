"""The folder of `mtlzoo export`: whole or refused, and nothing in it runs code."""

import json
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import polars as pl
import pytest
import torch
import yaml
from every_model import MODELS, build

import mtlzoo
from mtlzoo import PLE, MMoE, MultiTaskModule
from mtlzoo.cli import main
from mtlzoo.datamodules.prepare.encoding import Encoding
from mtlzoo.export.folder import _new_folder

FILES = (
    "config.yaml",
    "model.safetensors",
    "schema.json",
    "encoding/encoding.json",
    "encoding/vocabulary/items.parquet",
)


@pytest.fixture
def folder(answering: SimpleNamespace, tmp_path: Path) -> Path:
    """A copy of the export, to be damaged."""
    copy: Path = tmp_path / "copy"
    shutil.copytree(answering.exported, copy)
    return copy


def test_it_holds_the_checkpoint(answering: SimpleNamespace) -> None:
    expected, found = mtlzoo.load(answering.checkpoint), mtlzoo.load(answering.exported)
    assert type(found) is type(expected)
    assert not found.training
    assert found.schema == expected.schema
    assert {k: v for k, v in found.hparams.items() if k[0] != "_"} == {
        k: v for k, v in expected.hparams.items() if k[0] != "_"
    }
    assert found.state_dict().keys() == expected.state_dict().keys()
    for name, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], value)
    assert {k: v for k, v in (expected.trained_on or {}).items() if k != "folder"} == found.trained_on
    assert found.encoding.identity == expected.encoding.identity


def test_its_files_are_data_and_name_no_place_of_the_machine(answering: SimpleNamespace) -> None:
    files = sorted(path for path in answering.exported.rglob("*") if path.is_file())
    assert {path.suffix for path in files} == {".yaml", ".safetensors", ".json", ".parquet", ".md"}
    assert not [path for path in files if str(answering.root).encode() in path.read_bytes()]
    assert len({path.stat().st_mode for path in files}) == 1


def test_its_config_starts_such_a_training(answering: SimpleNamespace, tmp_path: Path) -> None:
    words = [
        "--data.root",
        str(answering.root / "data"),
        "--trainer.max_epochs",
        "1",
        "--trainer.default_root_dir",
        "runs",
    ]
    main(["fit", "-c", str(answering.exported / "config.yaml"), *words])
    (again,) = (tmp_path / "runs").glob("*/version_0/config.yaml")
    plain = yaml.safe_load(again.read_text())
    assert plain["model"]["init_args"]["lr"] == 0.01
    assert plain["data"]["init_args"]["batch_size"] == 96


def test_the_card_says_what_it_is(answering: SimpleNamespace) -> None:
    text = (answering.exported / "card.md").read_text()
    score = answering.results["metrics"]["test/click/auc"]
    for said in ("# MMoE on TabularDataModule", f"| test/click/auc | {score:.6g} |", "click (binary)", "train 800"):
        assert said in text
    assert answering.results["data_fingerprint"] in text


def test_metrics_of_another_checkpoint_are_left_out(answering: SimpleNamespace, tmp_path: Path) -> None:
    config = str(answering.run / "config.yaml")
    main(["export", "-c", config, "--ckpt_path", "last", "--out", str(tmp_path / "last")])
    assert "## Measured" not in (tmp_path / "last/card.md").read_text()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["cut", "flipped", "gone", "another's"])
@pytest.mark.every_case
def test_what_is_damaged_is_named(answering: SimpleNamespace, folder: Path, name: str, how: str) -> None:
    path = folder / name
    content = path.read_bytes()
    if how == "gone":
        path.unlink()
    elif how == "another's":
        shutil.copy(answering.exported / next(other for other in FILES if other != name), path)
    else:
        middle = len(content) // 2
        path.write_bytes(
            content[:middle] + (b"" if how == "cut" else bytes([content[middle] ^ 1]) + content[middle + 1 :])
        )
    with pytest.raises(ValueError, match=rf"(damaged|incomplete): {name} is") as refused:
        mtlzoo.load(folder)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("{", "damaged: files.json is no list"),
        ("[]", "damaged: files.json is no list"),
        ('{"format": 1, "files": {"../secret": "0"}}', "damaged: files.json is no list"),
        ('{"format": 9, "files": {}}', "of format 9, this version of mtlzoo reads 1"),
        ('{"format": 1, "files": {}}', "files.json knows no config.yaml"),
    ],
)
@pytest.mark.every_case
def test_a_list_that_is_none_is_refused(folder: Path, content: str, found: str) -> None:
    (folder / "files.json").write_text(content)
    with pytest.raises(ValueError, match=found):
        mtlzoo.load(folder)


def test_other_folders_are_refused(answering: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is no exported model: it has no files\.json, but .*checkpoints.*best\.ckpt"):
        mtlzoo.load(answering.run)
    with pytest.raises(ValueError, match="is no folder"):
        MMoE.from_pretrained(answering.checkpoint)


def sealed(folder: Path, name: str, content: bytes) -> None:
    """Writes a file as a stranger would, who knows how folders are sealed."""
    from mtlzoo.export.contents import LIST, seal

    (folder / name).write_bytes(content)
    (folder / LIST).unlink()
    seal(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.yaml", b"!!python/object/apply:os.system ['touch hacked']"),
        ("config.yaml", b"model: {class_path: os.system, init_args: {command: touch hacked}}"),
        ("config.yaml", b"model: {class_path: mtlzoo.MMoE}"),
        ("config.yaml", b"[]"),
        ("schema.json", b'{"features": [{"kind": "os"}], "tasks": []}'),
        ("model.safetensors", b"\x80\x04\x95cos\nsystem\n"),
    ],
)
@pytest.mark.every_case
def test_a_strangers_folder_runs_nothing(folder: Path, tmp_path: Path, name: str, content: bytes) -> None:
    sealed(folder, name, content)
    with pytest.raises(ValueError, match="copy"):
        mtlzoo.load(folder)
    assert not (tmp_path / "hacked").exists()


def test_a_strangers_encoding_calls_no_function_of_polars(folder: Path) -> None:
    plain: dict[str, Any] = json.loads((folder / "encoding/encoding.json").read_text())
    plain["tables"]["items"] = {"type": "read_csv", "source": "/etc/passwd"}
    sealed(folder, "encoding/encoding.json", json.dumps(plain).encode())
    with pytest.raises(ValueError, match="'read_csv' is no type of polars"):
        mtlzoo.load(folder).predict({})


def test_an_export_takes_the_place_of_an_earlier_one_and_of_nothing_else(
    answering: SimpleNamespace, folder: Path
) -> None:
    model = mtlzoo.load(answering.exported)
    before = (folder / "card.md").read_text()
    model.save_pretrained(folder)  # no test is known to it
    assert "## Measured" in before
    assert "## Measured" not in (folder / "card.md").read_text()
    assert mtlzoo.load(folder).encoding.identity == model.encoding.identity
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds what no export wrote, or what was changed since: notes\.txt"):
        model.save_pretrained(folder)
    (folder / "notes.txt").unlink()
    (folder / "card.md").write_text("edited")
    with pytest.raises(ValueError, match=r"changed since: card\.md"):
        model.save_pretrained(folder)
    link = folder.parent / "link"
    link.symlink_to(folder)
    with pytest.raises(ValueError, match="is a link"):
        model.save_pretrained(link)
    assert (folder / "card.md").read_text() == "edited"
    assert not [path for path in folder.parent.iterdir() if path.name.startswith(".")]


def test_a_failure_leaves_the_old_folder(
    answering: SimpleNamespace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Encoding, "copy", full)
    with pytest.raises(OSError, match="No space"):
        mtlzoo.load(answering.exported).save_pretrained(folder)
    assert {path: path.read_bytes() for path in folder.parent.rglob("*") if path.is_file()} == before


def test_what_a_killed_process_left_goes_and_what_another_writes_stays(toy: ModuleType, tmp_path: Path) -> None:
    model, killed = build(toy, "SharedBottom"), tmp_path / ".m[1].0123abcd.part"
    killed.mkdir()
    (killed / "config.yaml").write_text("model:")
    with pytest.raises(ValueError, match="is no exported model"):
        mtlzoo.load(killed)
    with _new_folder(tmp_path / "m[1]") as part:  # of another process, as it takes the lock anew
        model.save_pretrained(tmp_path / "m[1]")
        assert part.is_dir()
        assert not killed.exists()
        shutil.copytree(tmp_path / "m[1]", part, dirs_exist_ok=True)
    assert [path.name for path in tmp_path.iterdir()] == ["m[1]"]
    mtlzoo.load(tmp_path / "m[1]")


def test_one_folder_takes_the_place_of_another_in_one_step_where_it_can(
    toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, renamed = tmp_path / "m", list[str]()
    build(toy, "SharedBottom").save_pretrained(target)

    def rename(path: Path, to: Path) -> Path:
        renamed.append(path.name)
        return path.replace(to)

    monkeypatch.setattr(Path, "rename", rename)
    build(toy, "MMoE").save_pretrained(target)
    assert renamed == [] or sys.platform != "linux"
    assert isinstance(mtlzoo.load(target), MMoE)
    monkeypatch.setattr("mtlzoo.export.folder._exchange", lambda one, other: False)  # other systems
    build(toy, "PLE").save_pretrained(target)
    assert "m" in renamed
    assert isinstance(mtlzoo.load(target), PLE)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize("name", MODELS)
def test_every_model_made_in_python_comes_back(toy: ModuleType, tmp_path: Path, name: str) -> None:
    """Without data of ours: the model, and no answers to raw rows."""
    model = build(toy, name).eval()
    model.save_pretrained(tmp_path / "m")
    found = MultiTaskModule.from_pretrained(tmp_path / "m", lr=0.25)
    assert type(found) is type(model)
    assert (found.lr, found.trained_on) == (0.25, None)
    batch = next(iter(toy.InMemory(8).test_dataloader()))
    for task, logits in model(batch).items():
        assert torch.equal(found(batch)[task], logits)
    with pytest.raises(ValueError, match="not trained on data of mtlzoo"):
        found.predict(pl.DataFrame({"user": ["a"]}))
    other = PLE if name != "PLE" else MMoE
    with pytest.raises(ValueError, match=f"holds a {name}, which is no {other.__name__}"):
        other.from_pretrained(tmp_path / "m")


def test_weights_that_share_memory_are_written_apart(toy: ModuleType, tmp_path: Path) -> None:
    model = build(toy, "MMoE")
    whole = torch.randn(200)
    for number, weight in enumerate(p for p in model.parameters() if p.numel() == 8):
        weight.data = whole[8 * number : 8 * number + 8].view_as(weight)
    model.save_pretrained(tmp_path / "m")
    found = mtlzoo.load(tmp_path / "m").state_dict()
    assert all(torch.equal(found[name], value) for name, value in model.state_dict().items())
