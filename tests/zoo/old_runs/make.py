"""Made these runs, with the code of commit 63953a6: a training of every model, saved and measured.

Later code must load, test and resume them as they are: see test_old_runs.py. They are never made again. Runs of a
later commit may stand beside them; then this script, with that commit's code, makes those that have no folder yet:

    python tests/zoo/old_runs/make.py

Each folder has what `mtlzoo fit` left (config.yaml, last.ckpt compressed, some also encoding/) and what came of it then
(expected.json: results of `mtlzoo test`, predictions, some also where a training that went on from last.ckpt ended, and
predictions of rows without labels, encoded as the run's own).
"""

import json
import lzma
import os
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import polars as pl
import torch
import yaml

import mtlzoo
from mtlzoo.cli import main
from mtlzoo.cli.parser import import_class

HERE = Path(__file__).resolve().parent
SYNTHETIC = {"rows": 600, "users": 20, "items": 12, "rates": "[0.45, 0.3, 0.3]", "conflict": 0.3, "batch_size": 64}
LASTFM = {"root": "lastfm", "tasks": "[recommend, friends, tags]", "batch_size": 64}
SURGERY, BALANCING = (f"--trainer.callbacks+={name}" for name in ("GradientSurgery", "LossBalancing"))
CASES: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "adatt": ("AdaTT", {"levels": 2, "expert_units": [4], "tower_units": [4]}, [SURGERY, "rule=MoCo"]),
    "aitm": ("AITM", {"bottom_units": [8], "tower_units": [4], "calibrator": 0.3}, [BALANCING, "rule=FAMO"]),
    "aitm_stem": (
        "aitm_stem",
        {"bottom_units": [8, 8], "tower_units": [4, 4]},
        [SURGERY, "rule=NashMTL", "every_n_steps=2"],
    ),
    "cross_stitch": ("CrossStitch", {"bottom_units": [8, 4], "tower_units": [4]}, [BALANCING, "rule=UW"]),
    "esmm": ("ESMM", {"require_funnel": False, "tower_units": [8]}, [BALANCING, "rule=DWA"]),
    "mmoe": (
        "MMoE",
        {"experts": 2, "expert_units": [8], "tower_units": [4]},
        [SURGERY, "rule=GradVac", "level=row", "--trainer.callbacks+=ConflictMonitor"],
    ),
    "mmoe_stem": (
        "mmoe_stem",
        {"experts": 2, "expert_units": [8, 8], "gate_units": [4], "tower_units": [4]},
        [SURGERY, "rule=GradNorm"],
    ),
    "omoe": ("OMoE", {"experts": 2, "expert_units": [8], "tower_units": [4]}, [SURGERY, "rule=SDMGrad"]),
    "pepnet": ("PEPNet", {"domain": ["tab"], "tower_units": [8], "gate_units": 4}, [SURGERY, "rule=PCD"]),
    "ple": (
        "PLE",
        {"levels": 2, "expert_units": [4], "tower_units": [4]},
        [SURGERY, "rule=PMTRecRule", "level=row", "rule.main_task=long_view"],
    ),
    "ple_stem": (
        "ple_stem",
        {"shared_experts": 2, "expert_units": [8], "gate_units": [4], "tower_units": [4]},
        [SURGERY, "rule=MetaBalance", "level=parameter"],
    ),
    "pmtrec": (
        "PMTRec",
        {},
        [SURGERY, "rule=PMTRecRule", "level=row", "rule.main_task=recommend", "rule.tau=0.01"],
    ),
    "pmtrec_lightgcn": (
        "PMTRec",
        {"encoder": "lightgcn", "layers": 2, "ranking_loss": "softmax"},
        [BALANCING, "rule=IMTLL"],
    ),
    "pmtrec_ngcf": ("PMTRec", {"encoder": "ngcf", "layers": 1, "ranking_loss": "directau"}, [SURGERY, "rule=CAGrad"]),
    "shared_bottom": (
        "SharedBottom",
        {"bottom_units": [8], "tower_units": [4], "sparse": True, "schedule": "cosine"},
        [SURGERY, "rule=PCGrad", "level=row"],
    ),
    "shared_bottom_stem": (
        "shared_bottom_stem",
        {"bottom_units": [8], "tower_units": [4]},
        [BALANCING, "rule=STCH"],
    ),
    "single_task": ("SingleTask", {"units": [8]}, ["--trainer.callbacks+=ColdStartReport"]),
    "soft_sharing": ("SoftSharing", {"bottom_units": [8], "tower_units": [4]}, [SURGERY, "rule=GradDrop"]),
    "stem_net": (
        "STEMNet",
        {"shared_experts": 2, "expert_units": [8], "tower_units": [4], "clip_norm": 1.0, "accumulate": 2},
        [SURGERY, "rule=DBMTL"],
    ),
    "stem_net_stem": (
        "stem_net_stem",
        {"shared_experts": 2, "expert_units": [8], "gate_units": [4], "tower_units": [4]},
        [SURGERY, "rule=Sum", "--trainer.callbacks+=ConflictMonitor"],
    ),
}
"""By folder: a model or the name of its config, its options, and callbacks with theirs."""
RESUMED = ("aitm", "mmoe", "pmtrec")
"""Runs whose training goes on, too."""
SCORED = ("mmoe",)
"""Runs that score new rows, too."""


def words(case: str) -> list[str]:
    """The command line of a training."""
    model, options, callbacks = CASES[case]
    data = ("LastFM", LASTFM) if case.startswith("pmtrec") else ("Synthetic", SYNTHETIC)
    parts: list[Any] = ["--model", model if model[0].isupper() else f"configs/model/{model}.yaml"]
    for name, value in {"embedding_dim": 4, "lr": 0.01, **options}.items():
        parts += [f"--model.{name}", json.dumps(value) if isinstance(value, list) else value]
    parts += ["--data", data[0]]
    for name, value in data[1].items():
        parts += [f"--data.{name}", value]
    parts += [word if word.startswith("--") else f"--trainer.callbacks.{word}" for word in callbacks]
    return [*map(str, parts), "--trainer.accelerator", "cpu", "--trainer.log_every_n_steps", "4"]


def make(case: str, out: Path) -> None:
    """Trains, tests and predicts in the working folder; what remains goes to `out`."""
    main(["fit", *words(case), "--trainer.max_epochs", "2"])
    (config,) = Path("runs").glob("*/version_0/config.yaml")
    last = config.parent / "checkpoints" / "last.ckpt"
    kept = last.read_bytes()
    main(["test", "-c", str(config), "--ckpt_path", "last"])
    results = json.loads((config.parent / "results.json").read_text())
    results = {name: value for name, value in results.items() if name not in ("checkpoint", "config", "seconds")}
    chosen = yaml.safe_load(config.read_text())["data"]
    data = import_class(chosen["class_path"])(**chosen["init_args"])
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    batches: Any = trainer.predict(mtlzoo.load(last), data)
    predictions = {name: torch.cat([batch[name] for batch in batches]).tolist() for name in batches[0]}
    expected: dict[str, Any] = {"results": results, "predictions": predictions}
    text = config.read_text()
    if case in SCORED:
        rows = next(iter(data.read())).head(20)
        rows.drop(task.name for task in data.schema.tasks).write_parquet("new.parquet")
        main(["predict", "-c", str(config), "--ckpt_path", "last", "--data.predict", "new.parquet"])
        expected["scored"] = pl.read_parquet(config.parent / "predictions").to_dict(as_series=False)
        shutil.copytree(config.parent / "encoding", out / "encoding")
    if case in RESUMED:
        main(["fit", "-c", str(config), "--ckpt_path", "last", "--trainer.max_epochs", "3"])
        ended = torch.load(last, weights_only=True)
        norms = {name: float(weight.double().norm()) for name, weight in ended["state_dict"].items()}
        expected["resumed"] = {"step": ended["global_step"], "norms": norms, "metrics": ended["mtlzoo"]["metrics"]}
    out.mkdir(exist_ok=True)
    (out / "config.yaml").write_text(text)
    (out / "last.ckpt.xz").write_bytes(lzma.compress(kept, preset=9))
    (out / "expected.json").write_text(json.dumps(expected) + "\n")


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    if not (HERE / "lastfm").exists():
        sys.path.insert(0, str(HERE.parents[1] / "datamodules"))
        from fixtures.lastfm import write_lastfm

        write_lastfm(HERE / "lastfm", users=24, artists=30)
    for name in CASES:
        if not (HERE / name).exists():
            with tempfile.TemporaryDirectory() as folder:
                os.environ["MTLZOO_CACHE"] = f"{folder}/cache"
                os.chdir(folder)
                shutil.copytree(HERE / "lastfm", "lastfm")
                make(name, HERE / name)
                os.chdir(HERE)
