"""Where a former training keeps what it learned of its data: a run, a checkpoint, or a prepared folder."""

import pickle
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from mtlzoo.datamodules.errors import DataError, DatasetNotFoundError
from mtlzoo.datamodules.prepare.encoding import FILE, Encoding

DATA = "mtlzoo_data"
"""Entry of a checkpoint that says which data it was trained on."""


def find_encoding(like: str | PathLike[str]) -> Encoding:
    """The encoding of a former training.

    Args:
        like: The folder of a run or an exported one, which keep it under ``encoding``; a checkpoint, which is looked
            for in its run folder, then in the prepared data that it was trained on; or a prepared folder.

    Raises:
        DatasetNotFoundError: Nothing there, or nothing that says how its data were encoded.
        DataError: What is there belongs to another training.
    """
    path = Path(like).expanduser()
    if path.is_dir():
        return _of_training([path, path / "encoding"], None, f"like={path}")
    if path.is_file():
        noted = _noted(path)
        return _of_training(_places(path, noted), noted, f"like={path}")
    raise DatasetNotFoundError(f"like={path}: no such file or folder. Give a run, a checkpoint or a prepared folder.")


def encoding_of(noted: Mapping[str, Any], loaded_from: Path | None, name: str) -> Encoding:
    """The encoding of the data that a model was trained on.

    Args:
        noted: What the model notes of them; see `mtlzoo.training.identity`.
        loaded_from: Its checkpoint, or the folder that it was exported to; None for a model that no file holds.
        name: Of the model, for messages.

    Raises:
        DatasetNotFoundError: As of `find_encoding`.
        DataError: As of `find_encoding`.
    """
    return _of_training(_places(loaded_from, noted), noted, name)


def _places(path: Path | None, noted: Mapping[str, Any]) -> list[Path]:
    """Where the encoding may lie: beside the model, or in the prepared data."""
    kept: list[Path] = []
    if path is not None:
        run = path.absolute().parent.parent
        kept = [path] if path.is_dir() else [run] if path.exists() else [path, run]  # gone since the model was loaded
    return [*(place / "encoding" for place in kept), *([Path(noted["folder"])] if "folder" in noted else [])]


def _of_training(places: list[Path], noted: Mapping[str, Any] | None, name: str) -> Encoding:
    found = [Encoding(place) for place in places if (place / FILE).is_file()]
    if not found:
        looked = " or ".join(map(str, places)) or "any folder that is known"
        raise DatasetNotFoundError(
            f"{name}: no {FILE} in {looked}, so nothing says how its data were encoded. "
            "Give the run or the prepared folder of the training, or prepare its data again (mtlzoo prepare)."
        )
    if noted is None:
        return found[0]
    for encoding in found:
        if encoding.identity["vocabulary"] == noted["vocabulary"] and (
            encoding.identity["parts"] == noted.get("parts", encoding.identity["parts"])
        ):
            return encoding
    raise DataError(
        f"{name}: {' and '.join(str(encoding.folder) for encoding in found)} belong to another training than the "
        "checkpoint. Give the run or the prepared folder of its training."
    )


def _noted(path: Path) -> dict[str, Any]:
    """What a checkpoint says of the data that it was trained on."""
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        noted: dict[str, Any] = checkpoint[DATA]
    except (RuntimeError, OSError, pickle.UnpicklingError, TypeError, KeyError) as error:
        raise DatasetNotFoundError(
            f"like={path}: not a checkpoint that says which data it was trained on ({type(error).__name__}). Give the "
            "run or the prepared folder of the training."
        ) from error
    return noted
