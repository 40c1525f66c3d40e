"""Writes a model as a folder, whole or not at all, and reads it; nothing in it runs code."""

import ctypes
import fcntl
import glob
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import safetensors
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor

from mtlzoo.datamodules.prepare.encoding import Encoding
from mtlzoo.datamodules.prepare.lists import Lists
from mtlzoo.datamodules.prepare.storage import sync, write_json
from mtlzoo.export.card import card
from mtlzoo.export.contents import CARD, CONFIG, ENCODING, SCHEMA, SEEN, WEIGHTS, check, holds, seal, strangers
from mtlzoo.export.formats import check_formats, write_formats
from mtlzoo.schema import FeatureSchema
from mtlzoo.training.identity import DATA
from mtlzoo.training.resumable import ResumableModule

_MACHINE = {"data": ("root", "prepared", "like", "predict"), "trainer": ("default_root_dir", "logger")}
"""Options of a run that say where things lie on a machine."""


def write_folder(
    target: Path,
    model: ResumableModule,
    *,
    encoding: Encoding | None,
    config: Mapping[str, Any],
    metrics: Mapping[str, float],
    seen: Lists | None = None,
    formats: Sequence[str] = (),
) -> dict[str, str]:
    """Writes a model where there is nothing, or an earlier export as it was written.

    Args:
        target: The folder; it is the old one or the whole new one.
        model: The model.
        encoding: What its training learned of its data; None where these were not ours.
        config: Of its run, as far as known.
        metrics: Of its test, as far as known.
        seen: Of a ranking, what users have seen in train; see `mtlzoo.export.seen`.
        formats: Of the network, beside the weights; see `mtlzoo.export.formats`.

    Returns:
        What is to be known of a format, by its name; it stands in the card.

    Raises:
        ValueError: The folder holds something else, an option of the model is no plain value, or it can't be written
            in a format.
    """
    check_formats(formats)
    with _new_folder(target) as folder:
        plain = _config(model, config)
        (folder / CONFIG).write_text(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), encoding="utf-8")
        write_json(folder / SCHEMA, model.schema.to_dict())
        note = {name: value for name, value in (model.trained_on or {}).items() if name != "folder"}
        save_file(_apart(model.state_dict()), folder / WEIGHTS, {"format": "pt", DATA: json.dumps(note)})
        (folder / WEIGHTS).chmod((folder / CONFIG).stat().st_mode)  # safetensors keeps others from reading
        if encoding is not None:
            encoding.copy(folder / ENCODING)
        if seen is not None:
            seen.save(folder / SEEN)
        remarks = write_formats(folder, model, formats)
        text = card(model, None if encoding is None else encoding.folder, metrics, remarks)
        (folder / CARD).write_text(text, encoding="utf-8")
        seal(folder)
    return remarks


def read_folder(folder: Path) -> dict[str, Any]:
    """The entries of a checkpoint, of an exported folder whose files are what was written.

    Raises:
        ValueError: It is no exported folder, or damaged or incomplete.
    """
    check(folder, CONFIG, WEIGHTS, SCHEMA, *([ENCODING] if holds(folder, ENCODING) else []))
    try:
        model = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))["model"]
        module, _, name = model["class_path"].rpartition(".")
        schema = FeatureSchema.from_dict(json.loads((folder / SCHEMA).read_bytes()))
        with safetensors.safe_open(folder / WEIGHTS, "pt") as file:
            note = json.loads((file.metadata() or {}).get(DATA, "{}"))
        saved = {
            "mtlzoo": {"module": module, "class": name},
            "hyper_parameters": {**model["init_args"], "schema": schema.to_dict()},
            "state_dict": load_file(folder / WEIGHTS),
        }
    except (ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError, safetensors.SafetensorError) as error:
        raise ValueError(f"{folder} describes no model: {error!r}. Export it again.") from error
    return saved | ({DATA: note} if note else {})


def _config(model: ResumableModule, config: Mapping[str, Any]) -> dict[str, Any]:
    """What a training of the same kind is started with; paths of a machine are left out."""
    kept = deepcopy({name: value for name, value in config.items() if name != "ckpt_path"})
    for section, names in _MACHINE.items():
        options = kept.get(section) or {}
        options = options.get("init_args", options)
        for name in names:
            options.pop(name, None)
    shown = {name: value for name, value in model.hparams.items() if name != "schema" and not name.startswith("_")}
    options = {name: _plain(name, value) for name, value in shown.items()}
    path = f"{type(model).__module__}.{type(model).__qualname__}"
    return {**kept, "model": {"class_path": path, "init_args": options}}


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(name, item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(name, item) for item in value]
    if not isinstance(value, bool | int | float | str | None):
        raise ValueError(f"option {name}={value!r} is no plain value, and a folder holds no other; give it as one.")
    return value


def _apart(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights on the CPU, none of which shares memory with another."""
    seen: set[int] = set()
    apart = {}
    for name, weight in weights.items():
        weight = weight.detach().cpu().contiguous()
        storage = weight.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() != weight.nbytes:
            weight = weight.clone()
        seen.add(weight.untyped_storage().data_ptr())
        apart[name] = weight
    return apart


@contextmanager
def _new_folder(target: Path) -> Iterator[Path]:
    """A folder that takes the place of `target` when the block ends, and is gone where it fails."""
    target = target.expanduser().absolute()
    _check_place(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f".{glob.escape(target.name)}.????????.part"):
        if (claim := _claim(left)) is not None:  # else another process writes there
            shutil.rmtree(left, ignore_errors=True)  # of one that was killed
            os.close(claim)
    part, old = (target.with_name(f".{target.name}.{secrets.token_hex(4)}.part") for _ in range(2))
    part.mkdir()
    claim = _claim(part)
    try:
        yield part
        sync(part)
        _check_place(target)
        if not (target.exists() and _exchange(part, target)):
            if target.exists():
                target.rename(old)
            try:
                part.rename(target)
            except BaseException:
                if old.exists():
                    old.rename(target)
                raise
        sync(target.parent, recursive=False)
    finally:
        for left in (part, old):
            shutil.rmtree(left, ignore_errors=True)
        if claim is not None:
            os.close(claim)


def _exchange(one: Path, other: Path) -> bool:
    """Swaps two names in one step, where system and file system can: whoever is killed leaves one of both as it was."""
    try:
        rename = ctypes.CDLL(None).renameat2  # Linux; Python has no name for it
    except (AttributeError, TypeError):
        return False
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(rename(here, os.fsencode(one), here, os.fsencode(other), swap) == 0)


def _claim(folder: Path) -> int | None:
    """An open file that holds a folder until it is closed or the process dies; None where another has it, or none can.

    File systems without such locks keep what killed processes left.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _check_place(target: Path) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise ValueError(f"{target} is a link or a file; give a folder that is new, or that an export wrote.")
    if target.is_dir() and (others := strangers(target)):
        raise ValueError(
            f"{target} holds what no export wrote, or what was changed since: {', '.join(others[:5])}. Give another "
            "folder, or move that away."
        )
