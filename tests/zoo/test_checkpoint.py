"""`mtlzoo.load`: any checkpoint of ours, by its path alone."""

import io
import pickle
import random
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import lightning as L
import pytest
import torch
from chosen_device import ACCELERATOR

import mtlzoo
from mtlzoo import (
    AITM,
    PLE,
    AdaTT,
    CrossStitch,
    MMoE,
    MultiTaskModule,
    OMoE,
    SharedBottom,
    SingleTask,
    SoftSharing,
    STEMNet,
)
from mtlzoo.layers import MLP
from mtlzoo.schema import Batch


class Custom(MultiTaskModule):
    """A model of somebody else's."""

    def __init__(self, schema: mtlzoo.module.Schema, *, width: int = 4) -> None:
        super().__init__(schema, lr=0.25)
        self.network = MLP(1, [width], len(self.schema.tasks))

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        logits = self.network(batch["numeric"].to(self.dtype)).unbind(1)
        return dict(zip((task.name for task in self.schema.tasks), logits, strict=True))


def save(toy: ModuleType, model: MultiTaskModule, path: Path) -> Path:
    trainer = L.Trainer(
        accelerator=ACCELERATOR,
        devices=1,
        max_steps=2,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        precision="64-true",
    )
    trainer.fit(model, toy.InMemory(64))
    trainer.save_checkpoint(path, weights_only=False)
    return path


@pytest.mark.parametrize(
    "kind", [SingleTask, SharedBottom, OMoE, MMoE, PLE, STEMNet, AITM, AdaTT, CrossStitch, SoftSharing]
)
def test_a_model_made_in_python_comes_back(toy: ModuleType, tmp_path: Path, kind: Any) -> None:
    """Traps T2, T3, T5: the right class, all options, weights_only=True."""
    model = kind(toy.SCHEMA, embedding_dim=3, lr=0.05, clip_norm=7.0, dropout=0.25)
    loaded = mtlzoo.load(save(toy, model, tmp_path / "a.ckpt"))
    assert type(loaded) is kind
    assert not loaded.training
    assert (loaded.lr, loaded.clip_norm) == (0.05, 7.0)
    assert loaded.schema == model.schema
    batch = next(iter(toy.InMemory(64).test_dataloader()))
    for name, logits in loaded.double()(batch).items():
        torch.testing.assert_close(logits, model.double().eval()(batch)[name], rtol=1e-5, atol=1e-5)


def test_changes_replace_saved_options(toy: ModuleType, tmp_path: Path) -> None:
    path = save(toy, SharedBottom(toy.SCHEMA, embedding_dim=3), tmp_path / "a.ckpt")
    assert mtlzoo.load(path, lr=0.125).lr == 0.125
    assert mtlzoo.load(path).lr == 1e-3


def test_a_class_of_somebody_else(toy: ModuleType, tmp_path: Path) -> None:
    path = save(toy, Custom(toy.SCHEMA, width=6), tmp_path / "a.ckpt")
    loaded = mtlzoo.load(path)
    assert type(loaded) is Custom
    assert loaded.network.width == 3
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["mtlzoo"]["class"] = "Renamed"
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match=r"Renamed, which is no model of mtlzoo.*import it first.*--model "):
        mtlzoo.load(path)
    assert type(mtlzoo.load(path, model=Custom)) is Custom
    with pytest.raises(ValueError, match="do not fit Custom with these options: size mismatch for network"):
        mtlzoo.load(path, model=Custom, width=7)


@pytest.fixture(scope="module")
def small(toy: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a small model."""
    model = SharedBottom(toy.SCHEMA, embedding_dim=2, bottom_units=(2,))
    return save(toy, model, tmp_path_factory.mktemp("small") / "a.ckpt")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("hostile", "Model"),
        ("hostile", "MMoE"),
        ("runs.somebody.checkpoints.hostile", "MMoE"),
        ("hostile.inner", "MMoE.forward"),
        ("mtlzoo.hostile", "MMoE"),
        ("mtlzoo.cli", "main"),
        ("mtlzoo.__main__", "MMoE"),
        ("mtlzoo", "load"),
        ("mtlzoo", "schema.FeatureSchema"),
        ("mtlzoo.module", "MultiTaskModule"),
        ("mtlzoo.mmoe", "MMoE.forward"),
        ("mtlzoo.mmoe", "SharedBottom"),
        ("collections", "Counter"),
        ("os", "system"),
        ("", ""),
        (None, 3),
    ],
)
def test_a_file_imports_nothing(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any, name: Any
) -> None:
    """Whatever is importable beside it."""
    path = Path(shutil.copy(small, tmp_path / "a.ckpt"))
    places = [tmp_path / "hostile.py", tmp_path / "runs/somebody/checkpoints/hostile.py"]
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("raise SystemExit('code ran')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(mtlzoo, "__path__", [*mtlzoo.__path__, str(tmp_path)])
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["mtlzoo"] |= {"module": module, "class": name}
    torch.save(checkpoint, path)
    before = set(sys.modules)
    with pytest.raises(ValueError, match="no model of mtlzoo"):
        mtlzoo.load(path)
    assert set(sys.modules) == before


def test_what_is_not_there_is_said_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^there is no .*user/repo\. .*from_pretrained\('user/repo'\)"):
        mtlzoo.load(tmp_path / "user/repo")


def test_what_is_not_ours_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match="not a checkpoint of an mtlzoo model"):
        mtlzoo.load(tmp_path / "a.ckpt")


class Hidden:
    """Of a class that a checkpoint may not hold."""


def archive(**files: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as written:
        for name, content in files.items():
            written.writestr(name, content)
    return packed.getvalue()


def saved(value: Any) -> bytes:
    packed = io.BytesIO()
    torch.save(value, packed)
    return packed.getvalue()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "it is empty"),
        (b"<html>login</html>", "it is a web page"),
        (b"\n <!DOCTYPE html>", "it is a web page"),
        (pickle.dumps({"state_dict": {}}), "it is a pickle"),
        (bytes(1000), "nothing but zeros"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "a pointer of Git LFS"),
        (b"user,item\n1,2\n", "it begins with b'user,item"),
        (archive(a=b"1", b=b"2"), r"a zip archive of other files \(a, b\)"),
        (archive(), "it begins with"),
        (saved({"mtlzoo": {}, "x": torch.zeros(9)})[:-30], "cut short or damaged"),
        (saved({"mtlzoo": {}, "x": torch.zeros(999)})[:300], "cut short or damaged"),
        (saved({"mtlzoo": Hidden()}), "names .*Hidden, and holds more than"),
        (saved([1, 2]), "no entry 'mtlzoo'"),
        (saved({"mtlzoo": {}}), "class, options or weights of the model are missing"),
        (saved({"mtlzoo": 1, "state_dict": {}, "hyper_parameters": {}}), "class, options or weights"),
    ],
)
def test_other_and_damaged_files_are_named_in_a_line(tmp_path: Path, content: bytes, found: str) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=found) as refused:
        mtlzoo.load(path)
    said = str(refused.value)
    assert said.startswith(str(path))
    assert "\n" not in said
    assert "weights_only" not in said


@pytest.mark.slow
def test_a_flipped_byte_is_found_or_changes_nothing(small: Path, tmp_path: Path) -> None:
    """Every part of the file: records, names, checksums, lengths; between the records are bytes that mean nothing."""
    path = Path(shutil.copy(small, tmp_path / "a.ckpt"))
    expected = mtlzoo.load(path).state_dict()
    content, draw = path.read_bytes(), random.Random(0)
    refused = changed_nothing = 0
    for place in draw.sample(range(len(content)), 300) + list(range(len(content) - 60, len(content))):
        damaged = bytearray(content)
        damaged[place] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            found = mtlzoo.load(path).state_dict()
        except ValueError as error:
            said = str(error)
            refused += said.startswith(str(path)) and "\n" not in said
        else:
            assert all(torch.equal(value, expected[name]) for name, value in found.items())
            changed_nothing += 1
    assert refused + changed_nothing == 360  # and no other error
    assert refused > 100


@pytest.mark.parametrize(
    ("entry", "value", "said"),
    [
        ("state_dict", {"a": 1}, "not a whole checkpoint"),
        ("state_dict", {1: torch.ones(1)}, "not a whole checkpoint"),
        ("state_dict", {}, "do not fit SharedBottom"),
        ("hyper_parameters", {}, "not a whole checkpoint"),
        ("hyper_parameters", {"schema": {"features": 3}}, "not a whole checkpoint"),
        ("mtlzoo_data", "x", "not a whole checkpoint"),
        ("mtlzoo_data", {}, "not a whole checkpoint"),
    ],
)
def test_a_checkpoint_of_other_parts_is_refused_in_a_line(
    small: Path, tmp_path: Path, entry: str, value: Any, said: str
) -> None:
    checkpoint: Any = torch.load(small, weights_only=True)
    torch.save({**checkpoint, entry: value}, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match=said) as refused:
        mtlzoo.load(tmp_path / "a.ckpt")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("option", "value"), [("experts", 3), ("bottom_units", "wide"), ("bottom_units", [-1])])
def test_options_that_make_no_model_name_the_file(small: Path, tmp_path: Path, option: str, value: Any) -> None:
    checkpoint: Any = torch.load(small, weights_only=True)
    checkpoint["hyper_parameters"][option] = value
    torch.save(checkpoint, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match=r"a\.ckpt: "):
        mtlzoo.load(tmp_path / "a.ckpt")


@pytest.mark.slow
def test_a_checkpoint_holds_nothing_but_plain_values(toy: ModuleType, tmp_path: Path) -> None:
    """A process that never imports mtlzoo can read it (trap T4)."""
    path = save(toy, MMoE(toy.SCHEMA, embedding_dim=3, experts=2), tmp_path / "a.ckpt")
    script = (
        "import sys, torch; c = torch.load(sys.argv[1], weights_only=True); assert 'mtlzoo' not in sys.modules;"
        "options = c['hyper_parameters'];"
        "print(c['mtlzoo']['class'], options['experts'], options['schema']['tasks'][0]['name'])"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == "MMoE 2 click\n"
