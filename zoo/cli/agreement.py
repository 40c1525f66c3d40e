"""What of a checkpoint must agree with the command line and with the data."""

import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
from jsonargparse import Namespace, dict_to_namespace

from mtlzoo.callbacks.atomic import own_folder
from mtlzoo.checkpoint import read
from mtlzoo.cli.parser import import_class, plain
from mtlzoo.datamodules.base import MultiTaskDataModule
from mtlzoo.module import MultiTaskModule
from mtlzoo.saved_model import find_class
from mtlzoo.schema import FeatureSchema
from mtlzoo.training.identity import DATA, check_columns, check_meaning

RESUMED = ("loops", "optimizer_states", "lr_schedulers", "callbacks")
"""What Lightning needs of a checkpoint to go on, beside the weights."""


def peek(path: Path, *, resumes: bool = False) -> dict[str, Any]:
    """What a checkpoint says of its model, without reading the weights.

    Args:
        path: The checkpoint.
        resumes: Whether a training is to go on from it.

    Raises:
        ValueError: It is damaged, or not the checkpoint of an mtlzoo model, or has not what it is for.
    """
    checkpoint = read(path, mmap=True)
    if resumes and not (set(RESUMED) <= set(checkpoint) and "random" in checkpoint["mtlzoo"]):
        raise ValueError(
            f"{path} holds weights alone, and no training to go on with. Take last.ckpt, or one that was saved with "
            "save_weights_only=False; to start from the weights: mtlzoo.load(path)."
        )
    return {key: checkpoint.get(key) for key in ("mtlzoo", "hyper_parameters", "global_step", "epoch", DATA)}


def model_of(checkpoint: Mapping[str, Any], path: Path) -> Namespace:
    """Class path and options of a checkpoint's model.

    Raises:
        ValueError: No model of ours, and none that was imported; see `find_class`.
    """
    kind = find_class(checkpoint, path, MultiTaskModule)  # type: ignore[type-abstract]
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
        ValueError: Features or tasks differ, with the differences; or ids or numbers mean other values.
    """
    # Through the class: a schema that an earlier version saved lacks the parts that came later.
    schema = FeatureSchema.from_dict(plain(checkpoint["hyper_parameters"]["schema"]))
    check_columns(str(path), plain(schema.to_dict()), plain(data.schema.to_dict()), "checkpoint")
    check_meaning(str(path), schema, checkpoint[DATA], data.identity)


class KeptEncoding(L.Callback):
    """Keeps in a run what its training learned of its data, so that the run needs neither cache nor raw files later.

    Args:
        data: The data.
        folder: Run folder.
    """

    def __init__(self, data: MultiTaskDataModule, folder: Path) -> None:
        self.data = data
        self.folder = folder

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Copies it to ``encoding/``, whole or not at all, unless it is there."""
        kept = self.folder / "encoding"
        if not trainer.is_global_zero or kept.exists():
            return
        kept.unlink(missing_ok=True)  # a link to nothing
        for stale in own_folder(self.folder).glob(".encoding.????????.part"):
            shutil.rmtree(stale)
        part = self.folder / f".encoding.{secrets.token_hex(4)}.part"
        try:
            self.data.encoding.copy(part)
            part.replace(kept)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _options(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in checkpoint["hyper_parameters"].items() if not k.startswith("_") and k != "schema"}
