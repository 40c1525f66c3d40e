"""Runs of an earlier commit are loaded, tested and resumed by this one, and come to the numbers of then."""

import json
import lzma
import shutil
from pathlib import Path
from typing import Any

import lightning as L
import polars as pl
import pytest
import torch
import yaml
from chosen_device import ACCELERATOR

import mtlzoo
from mtlzoo.cli import main
from mtlzoo.cli.parser import import_class

RUNS = Path(__file__).with_name("old_runs")
EXPECTED = {path.parent.name: json.loads(path.read_text()) for path in sorted(RUNS.glob("*/expected.json"))}
CLOSE: dict[str, Any] = {"rel": 1e-5, "abs": 1e-6}
MODELS = (
    *("AITM", "AdaTT", "CrossStitch", "ESMM", "MMoE", "OMoE", "PEPNet", "PLE", "PMTRec", "STEMNet", "SharedBottom"),
    *("SingleTask", "SoftSharing"),
)
"""Those of the commit that made the runs."""
OF_THEN = ("metrics", "versions", "data_fingerprint")
"""What of a record is compared otherwise, or is another by right: a preparation may come to the same rows anew."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared data; they are the same for nearly all runs."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def folder(case: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder as it was left, but somewhere else."""
    monkeypatch.setenv("MTLZOO_CACHE", str(cache))
    shutil.copytree(RUNS / "lastfm", tmp_path / "lastfm")
    folder = tmp_path / "moved" / case / "version_0"
    shutil.copytree(RUNS / case, folder, ignore=shutil.ignore_patterns("*.xz", "expected.json"))
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last.ckpt").write_bytes(lzma.decompress((RUNS / case / "last.ckpt.xz").read_bytes()))
    return folder


def of(case: str, what: str) -> Any:
    return EXPECTED[case][what]


def with_part(part: str) -> list[str]:
    return [case for case, expected in EXPECTED.items() if part in expected]


def assert_close(found: dict[str, Any], expected: dict[str, Any], **tolerance: float) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, nan_ok=True, **(tolerance or CLOSE)), name


def test_there_is_a_run_of_every_model_of_then() -> None:
    assert {of(case, "results")["model"] for case in EXPECTED} == set(MODELS)


@pytest.mark.parametrize(
    "path",
    [
        *("mtlzoo.best.BestCheckpoint", "mtlzoo.callbacks.surgery.GradientSurgery", "mtlzoo.callbacks.rules.ConFIG"),
        *(f"mtlzoo.datamodules.columns.{kind}Split" for kind in ("Time", "Random", "User", "Given")),
        *("mtlzoo.datamodules.download.download", "mtlzoo.datamodules.prepare.prepare"),
        *(f"mtlzoo.datamodules.reading.{name}" for name in ("read_csv", "read_parquet")),
    ],
)
def test_paths_of_then_lead_there(path: str) -> None:
    assert import_class(path).__name__ == path.rpartition(".")[2]


@pytest.mark.parametrize("case", EXPECTED)
@pytest.mark.filterwarnings("ignore:The 'predict_dataloader' does not have many workers")
def test_loads_with_its_weights_and_predicts_as_then(case: str, folder: Path) -> None:
    path = folder / "checkpoints" / "last.ckpt"
    model = mtlzoo.load(path)
    saved = torch.load(path, weights_only=True)["state_dict"]
    assert model.state_dict().keys() == saved.keys()
    torch.testing.assert_close(model.state_dict(), saved, rtol=0, atol=0)
    again = type(model).load_from_checkpoint(path)
    torch.testing.assert_close(again.state_dict(), saved, rtol=0, atol=0)
    chosen = yaml.safe_load((folder / "config.yaml").read_text())["data"]
    data = import_class(chosen["class_path"])(**chosen["init_args"])
    batches: Any = L.Trainer(accelerator=ACCELERATOR, logger=False, enable_progress_bar=False).predict(model, data)
    assert_close({name: torch.cat([b[name] for b in batches]).tolist() for name in batches[0]}, of(case, "predictions"))


@pytest.mark.parametrize("case", EXPECTED)
def test_is_tested_as_then(case: str, folder: Path) -> None:
    main(["test", "-c", str(folder / "config.yaml"), "--ckpt_path", "last"])
    found, expected = json.loads((folder / "results.json").read_text()), of(case, "results")
    assert_close(found["metrics"], expected["metrics"])
    same = [name for name in expected if name not in OF_THEN]
    assert {name: found.get(name) for name in same} == {name: expected[name] for name in same}


@pytest.mark.parametrize("case", with_part("resumed"))
def test_goes_on_as_then(case: str, folder: Path) -> None:
    main(["fit", "-c", str(folder / "config.yaml"), "--ckpt_path", "last", "--trainer.max_epochs", "3"])
    ended, expected = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True), of(case, "resumed")
    assert ended["global_step"] == expected["step"]
    norms = {name: float(weight.double().norm()) for name, weight in ended["state_dict"].items()}
    assert_close(norms, expected["norms"], rel=1e-4, abs=1e-6)
    assert_close(ended["mtlzoo"]["metrics"], expected["metrics"], rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("case", with_part("scored"))
def test_scores_new_rows_by_its_own_encoding(case: str, folder: Path) -> None:
    chosen = yaml.safe_load((folder / "config.yaml").read_text())["data"]
    data = import_class(chosen["class_path"])(**chosen["init_args"])
    rows = next(iter(data.read())).head(20).drop(task.name for task in data.schema.tasks)
    rows.write_parquet("new.parquet")
    main(["predict", "-c", str(folder / "config.yaml"), "--ckpt_path", "last", "--data.predict", "new.parquet"])
    assert_close(pl.read_parquet(folder / "predictions").to_dict(as_series=False), of(case, "scored"))
