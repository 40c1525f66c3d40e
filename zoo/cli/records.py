"""What a run measured, for programs: the records fit.json and results.json."""

import platform
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Timer

from mtlzoo.cli.checkpoints import BestCheckpoint
from mtlzoo.cli.run_folder import read_json
from mtlzoo.datamodules.base import MultiTaskDataModule
from mtlzoo.module import MultiTaskModule
from mtlzoo.version import __version__


def stage_metrics(trainer: L.Trainer) -> dict[str, float]:
    """The metrics of the validation or test that just ended, by full name."""
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def fit_record(trainer: L.Trainer) -> dict[str, Any]:
    """What a training came to; seconds count resumed parts once."""
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set outside of __init__
    timer = next(c for c in callbacks if isinstance(c, Timer))
    best = next((c for c in callbacks if isinstance(c, BestCheckpoint)), None)
    score = None if best is None or best.best_model_score is None else float(best.best_model_score)
    return {
        "seconds": timer.time_elapsed(),
        "epochs": trainer.current_epoch,
        "steps": trainer.global_step,
        "monitor": None if best is None else best.monitor,
        "mode": None if best is None else best.mode,
        "best": score,
    }


def test_record(
    trainer: L.Trainer,
    model: MultiTaskModule,
    data: MultiTaskDataModule,
    summary: Mapping[str, Any],
    checkpoint: Mapping[str, Any],
    seconds: Mapping[str, float | None],
    config: Mapping[str, Any],
) -> dict[str, Any]:
    """All that results.json holds; names are listed in docs/cli.md.

    Args:
        trainer: After the test.
        model: That was tested.
        data: On which it was.
        summary: What `describe` says of the run.
        checkpoint: ``path``, ``epoch`` and ``global_step``.
        seconds: Of ``fit`` and ``test``.
        config: All options.
    """
    manifest = data.data.manifest
    tables = sum(p.numel() for p in model.tables().values())
    return {
        "metrics": stage_metrics(trainer),
        "model": summary["model_name"],
        "data": summary["data_name"],
        "rule": summary["rule_name"],
        "rule_options": summary["rule_options"],
        "changed": summary["changed"],
        "seed": summary["seed"],
        "data_fingerprint": manifest["fingerprint"],
        "rows": manifest["rows"],
        "parameters": {"tables": tables, "dense": sum(p.numel() for p in model.parameters()) - tables},
        "seconds": dict(seconds),
        "checkpoint": str(checkpoint["path"]),
        "epoch": checkpoint["epoch"],
        "step": checkpoint["global_step"],
        "device": str(model.device),
        "versions": versions(),
        "config": dict(config),
    }


def seconds_of_fit(path: Path) -> float | None:
    """None where the training has not ended, or its record is damaged, which is no reason to lose a test."""
    if not path.is_file():
        return None
    try:
        return float(read_json(path)["seconds"])
    except (ValueError, KeyError, TypeError) as error:
        warnings.warn(f"The seconds of the training are unknown. {path}: {error!r}", stacklevel=2)
        return None


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    return {
        "mtlzoo": __version__,
        "torch": torch.__version__,
        "lightning": L.__version__,
        "python": platform.python_version(),
    }
