"""What users have seen in train, which a ranking leaves out: found where a model's data lie, or in its folder."""

import json
import warnings
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
from torch import nn

from mtlzoo.datamodules.errors import DataWarning
from mtlzoo.datamodules.prepare.lists import Lists
from mtlzoo.datamodules.prepare.positives import positive_items
from mtlzoo.datamodules.prepare.prepared import PreparedData
from mtlzoo.export.contents import ENCODING, SEEN, check, holds
from mtlzoo.schema import FIRST_KNOWN, FeatureSchema
from mtlzoo.training.identity import Identity
from mtlzoo.training.resumable import ResumableModule

MANIFEST = "manifest.json"
_FOUND: WeakKeyDictionary[nn.Module, tuple[Identity | None, Lists | None]] = WeakKeyDictionary()
"""What was found last, and for which training; not in the models, which are copied and sent to other processes."""


def find_seen(model: ResumableModule, loaded_from: Path | None) -> Lists | None:
    """Of each user the items of the positive interactions of train, as the metrics of rankings leave them out.

    Args:
        model: The model.
        loaded_from: Its checkpoint, or the folder that it was exported to; None for a model that no file holds.

    Returns:
        None where the model ranks nothing, or neither its folder nor the prepared data of its training say it any more.

    Raises:
        ValueError: The folder is damaged.
    """
    known, found = _FOUND.get(model, (None, None))
    if found is None or known is not model.trained_on:
        found = _find(model, loaded_from)
        _FOUND[model] = model.trained_on, found
    return found


def warn_of_none(model: ResumableModule, target: str) -> None:
    """Warns of an export that can't leave out what users have seen in train, as nothing says it any more."""
    if model.trained_on is not None and any(task.kind == "ranking" for task in model.schema.tasks):
        remark = f"{target}: without what users have seen in train, as the prepared data are gone or are others"
        warnings.warn_explicit(remark, DataWarning, "mtlzoo", 0)


def _find(model: ResumableModule, loaded_from: Path | None) -> Lists | None:
    noted = model.trained_on
    if noted is None or not any(task.kind == "ranking" for task in model.schema.tasks):
        return None
    if loaded_from is not None and loaded_from.is_dir() and holds(loaded_from, SEEN):
        check(loaded_from, SEEN, ENCODING)
        if _fingerprint(loaded_from / ENCODING) == noted["fingerprint"]:  # or it has been trained on since
            return _kept(loaded_from, model.schema)
    data = training_data(noted)
    return None if data is None else positive_items(data["train"], data.schema)


def training_data(noted: Identity | None) -> PreparedData | None:
    """The prepared data that a model notes of its training; None where they are gone, or others lie there by now."""
    folder = Path(noted["folder"]) if noted is not None and "folder" in noted else None
    if noted is None or folder is None or not (folder / MANIFEST).is_file():
        return None
    return PreparedData(folder) if _fingerprint(folder) == noted["fingerprint"] else None


def _fingerprint(folder: Path) -> str:
    return str(json.loads((folder / MANIFEST).read_bytes())["fingerprint"])


def _kept(folder: Path, schema: FeatureSchema) -> Lists:
    """The lists of an exported folder, which may be a stranger's."""
    users, items = (
        next(feature.cardinality for feature in schema.categorical if feature.name == name)
        for name in (schema.user, schema.item)
    )
    try:
        lists = Lists.load(folder / SEEN)
        starts, members = lists.starts, lists.members
        whole = starts.shape == (users + 1,) and members.ndim == 1 and starts[0] == 0 and starts[-1] == len(members)
        whole = whole and starts.dtype == np.int64 and members.dtype == np.int32 and bool((np.diff(starts) >= 0).all())
        whole = whole and (not len(members) or (members.min() >= FIRST_KNOWN - 1 and members.max() < items))
    except (ValueError, OSError, IndexError):
        whole = False
    if not whole:
        raise ValueError(f"{folder} is damaged: {SEEN}/ holds no lists of its users and items. Export it again.")
    return lists
