"""Where a former training keeps what it learned of its data: a run, a checkpoint, or a prepared folder."""

import pickle
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
        like: The folder of a run, which keeps it under ``encoding``; a checkpoint, which is looked for in its run
            folder, then in the prepared data that it was trained on; or a prepared folder.

    Raises:
        DatasetNotFoundError: Nothing there, or nothing that says how its data were encoded.
        DataError: What is there belongs to another training.
    """
    path = Path(like).expanduser()
    if path.is_dir():
        noted, places = None, [path, path / "encoding"]
    elif path.is_file():
        noted = _noted(path)
        places = [path.absolute().parent.parent / "encoding", *([Path(noted["folder"])] if "folder" in noted else [])]
    else:
        raise DatasetNotFoundError(
            f"like={path}: no such file or folder. Give a run, a checkpoint or a prepared folder."
        )
    found = [Encoding(place) for place in places if (place / FILE).is_file()]
    if not found:
        raise DatasetNotFoundError(
            f"like={path}: no {FILE} in {' or '.join(map(str, places))}, so nothing says how its data were encoded. "
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
        f"like={path}: {' and '.join(str(encoding.folder) for encoding in found)} belong to another training than the "
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
