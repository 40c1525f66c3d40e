"""What of a checkpoint must agree with the command line and with the data."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import polars as pl
from jsonargparse import Namespace, dict_to_namespace

from mtlzoo.checkpoint import find_class, read
from mtlzoo.cli.parser import import_class, plain
from mtlzoo.datamodules.base import MultiTaskDataModule
from mtlzoo.datamodules.prepared import PreparedData
from mtlzoo.schema import FeatureSchema

DATA = "mtlzoo_data"
"""Entry of a checkpoint that says which data it was trained on."""


def peek(path: Path) -> dict[str, Any]:
    """What a checkpoint says of its model, without reading the weights.

    Raises:
        ValueError: It is damaged, or not the checkpoint of an mtlzoo model.
    """
    checkpoint = read(path, mmap=True)
    return {key: checkpoint.get(key) for key in ("mtlzoo", "hyper_parameters", "global_step", "epoch", DATA)}


def model_of(checkpoint: Mapping[str, Any], path: Path) -> Namespace:
    """Class path and options of a checkpoint's model.

    Raises:
        ValueError: No model of ours, and none that was imported; see `find_class`.
    """
    kind = find_class(checkpoint, path)
    options = {"schema": None, **_options(checkpoint)}  # the schema comes from the data
    namespace: Namespace = dict_to_namespace(
        {"class_path": f"{kind.__module__}.{kind.__qualname__}", "init_args": options}
    )
    return namespace


def reconcile(model: Namespace, given: Mapping[str, Any] | None, checkpoint: Mapping[str, Any], path: Path) -> None:
    """Makes the parsed options of the model those of the checkpoint.

    Args:
        model: Class path and all options, defaults included; changed in place.
        given: Class path and options that the user wrote, in a file or on the command line.
        checkpoint: What `peek` returned.
        path: Where it is from, for the message.

    Raises:
        ValueError: The user wrote something else than the checkpoint holds; Lightning 2.6 would silently ignore it.
    """
    saved = checkpoint["mtlzoo"]
    cls = import_class(model["class_path"])
    if (cls.__module__, cls.__qualname__) != (saved["module"], saved["class"]):
        raise ValueError(f"{path} holds a {saved['class']}, the command line or config says {cls.__name__}.")
    options = _options(checkpoint)
    written = plain((given or {}).get("init_args") or {})
    differ = [
        f"{name}: command line or config {written[name]!r}, checkpoint {plain(options[name])!r}"
        for name in written
        if name in options and written[name] != plain(options[name])
    ]
    if differ:
        raise ValueError(
            f"{path} was made with other options of the model.\n  " + "\n  ".join(differ) + "\nLeave them out: a "
            "checkpoint is tested or resumed as it was made. To fine-tune with others, start from its weights alone: "
            "mtlzoo.load(path, lr=...)."
        )
    for name, value in options.items():
        if name in model["init_args"]:
            model["init_args"][name] = value


def check_data(checkpoint: Mapping[str, Any], data: MultiTaskDataModule, path: Path) -> None:
    """Refuses data that the model of a checkpoint was not made for.

    Raises:
        ValueError: Features or tasks differ, with the differences; or the same ids mean other values.
    """
    # Through the class: a schema that an earlier version saved lacks the parts that came later.
    schema = FeatureSchema.from_dict(plain(checkpoint["hyper_parameters"]["schema"]))
    saved, found = plain(schema.to_dict()), plain(data.schema.to_dict())
    if parts := [part for part in found if found[part] != saved[part]]:
        lines = [f"{p}: checkpoint {_only(saved[p], found[p])}, data {_only(found[p], saved[p])}" for p in parts]
        raise ValueError(f"{path} was made for data with other columns.\n  " + "\n  ".join(lines))
    trained = checkpoint[DATA]
    if trained and trained["vocabulary"] != vocabulary_digest(data.data):
        raise ValueError(
            f"{path} was trained on {trained['fingerprint']}, whose ids mean other values than those of "
            f"{data.data.manifest['fingerprint']}. Test it with the files and options of its training."
        )


def vocabulary_digest(data: PreparedData) -> str:
    """Digest of which value each id stands for; the same for all test splits that belong to one training split."""
    digest = hashlib.sha256()
    for path in sorted((data.folder / "vocabulary").glob("*.parquet")):
        digest.update(f"{path.stem}\n".encode())
        table = pl.read_parquet(path, glob=False, columns=["value", "id"]).sort("id")
        for part in table.iter_slices(2**20):
            digest.update(part.write_csv().encode())
    return digest.hexdigest()


class DataIdentity(L.Callback):
    """Notes in every checkpoint which data it was trained on.

    Args:
        data: The data.
    """

    def __init__(self, data: PreparedData) -> None:
        self.identity = {"fingerprint": data.manifest["fingerprint"], "vocabulary": vocabulary_digest(data)}

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds the note."""
        checkpoint[DATA] = self.identity


def _options(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in checkpoint["hyper_parameters"].items() if not k.startswith("_") and k != "schema"}


def _only(these: Any, others: Any) -> Any:
    return (
        [item for item in these if item not in others]
        if isinstance(these, list) and isinstance(others, list)
        else these
    )
