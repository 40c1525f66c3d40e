"""From a checkpoint file to a model, whatever its class; a file from somebody else runs no code."""

import errno
import inspect
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

import mtlzoo
from mtlzoo.module import MultiTaskModule
from mtlzoo.schema import FeatureSchema
from mtlzoo.training.identity import DATA

BEGINNINGS = {
    b"<": "a web page",
    b"\x80": "a pickle, not what torch.save writes",
    b"\x1f\x8b": "a gzip archive",
    b"version https://git-lfs": "a pointer of Git LFS; fetch the file itself",
    b"\x00\x00\x00\x00": "nothing but zeros at its beginning",
}
"""What files are that people take for checkpoints, by their first bytes."""


def load(
    path: str | os.PathLike[str],
    map_location: Any = "cpu",
    *,
    model: type[MultiTaskModule] | None = None,
    **changes: Any,
) -> MultiTaskModule:
    """The model of a checkpoint, of the class that was saved, ready to predict.

    Nothing is imported because a file says so: the class is one of `mtlzoo`, one that this process has imported, or
    `model`.

    Args:
        path: Checkpoint written by a Trainer.
        map_location: Device of the weights.
        model: The class, where the file names one that this process does not know.
        **changes: Constructor arguments that replace the saved ones.

    Returns:
        The model in evaluation mode.

    Raises:
        ValueError: The file is damaged, or no checkpoint of an mtlzoo model, or names a class that is not known.
    """
    checkpoint = read(path, map_location)
    kind = model or find_class(checkpoint, path)
    options = {name: value for name, value in checkpoint["hyper_parameters"].items() if not name.startswith("_")}
    accepted = inspect.signature(kind).parameters
    if all(parameter.kind is not inspect.Parameter.VAR_KEYWORD for parameter in accepted.values()):
        options = {name: value for name, value in options.items() if name in accepted}  # the others it sets by itself
    try:
        made = kind(**{**options, **changes})
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: {kind.__name__} can't be made of its options: {error}") from error
    try:
        made.load_state_dict(checkpoint["state_dict"])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    made.trained_on = checkpoint.get(DATA)
    return made.to(map_location).eval()


def read(path: str | os.PathLike[str], map_location: Any = "cpu", *, mmap: bool = False) -> dict[str, Any]:
    """The entries of a checkpoint of a model of ours, after every byte of it was compared with its checksums.

    Args:
        path: The file.
        map_location: Device of the tensors.
        mmap: Whether the tensors stay in the file until they are used.

    Raises:
        ValueError: Something else, or damaged; one line says what was found.
    """
    path = Path(path)
    if found := _damage(path):
        raise ValueError(f"{path} is not a checkpoint: {found}.")
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True, mmap=mmap)
    except Exception as error:  # whatever torch finds in a file; its advice is to load it without a check
        named = re.search(r"GLOBAL (\S+)", str(error))
        found = f"it names {named[1]}, and holds more than tensors and plain values" if named else "torch can't read it"
        raise ValueError(f"{path} is not a checkpoint of an mtlzoo model: {found}.") from None
    if not isinstance(checkpoint, dict) or "mtlzoo" not in checkpoint:
        raise ValueError(f"{path} is not a checkpoint of an mtlzoo model: it has no entry 'mtlzoo'.")
    if not _is_whole(checkpoint):
        raise ValueError(f"{path} is not a whole checkpoint: class, options or weights of the model are missing.")
    return checkpoint


def _is_whole(checkpoint: Mapping[str, Any]) -> bool:
    """Whether it has class, options and weights of a model, and what is noted of its data is a note."""
    who, options, weights, data = (
        checkpoint.get(part, {}) for part in ("mtlzoo", "hyper_parameters", "state_dict", DATA)
    )
    if not all(isinstance(part, Mapping) for part in (who, options, weights, data)):
        return False
    if not {"module", "class"} <= set(who) or (DATA in checkpoint and not {"vocabulary", "fingerprint"} <= set(data)):
        return False
    try:
        FeatureSchema.from_dict(options["schema"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return False
    named = (isinstance(name, str) and isinstance(weight, torch.Tensor) for name, weight in weights.items())
    return "state_dict" in checkpoint and all(named)


def find_class(checkpoint: Mapping[str, Any], path: str | os.PathLike[str]) -> type[MultiTaskModule]:
    """The class of a checkpoint's model; imports nothing that the file names, and looks at no attribute of it.

    Raises:
        ValueError: No public model of `mtlzoo`, and no model that this process has imported.
    """
    module, name = str(checkpoint["mtlzoo"]["module"]), str(checkpoint["mtlzoo"]["class"])
    if name in mtlzoo._HOMES and module in ("mtlzoo", f"mtlzoo.{mtlzoo._HOMES[name]}"):
        found = getattr(mtlzoo, name)
    else:
        # The last, as a notebook defines a class again and again.
        known = [kind for kind in _models() if (kind.__module__, kind.__qualname__) == (module, name)]
        found = known[-1] if known else None
    if not (isinstance(found, type) and issubclass(found, MultiTaskModule)) or inspect.isabstract(found):
        raise ValueError(
            f"{path} holds a {module}.{name}, which is no model of mtlzoo and none that this process has imported; "
            "what a file names is not imported. If you trust it, import it first or give the class: mtlzoo.load(path, "
            f"model={name.rpartition('.')[2]}); on the command line --model {module}.{name}."
        )
    return found


def _models(base: Any = MultiTaskModule) -> Iterator[type[MultiTaskModule]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _models(kind)


def _damage(path: Path) -> str | None:
    """What a file is in place of a whole archive of torch, or None. Every record in it has a checksum."""
    with path.open("rb") as file:
        first = file.read(64)
        try:
            if not first:
                return "it is empty"
            if not first.startswith(b"PK\x03\x04"):
                what = next((what for bytes_, what in BEGINNINGS.items() if first.lstrip().startswith(bytes_)), None)
                return f"it is {what}" if what else f"it begins with {first[:16]!r}"
            with zipfile.ZipFile(file) as archive:
                names = archive.namelist()
                if not any(name.endswith("/data.pkl") for name in names):
                    return f"it is a zip archive of other files ({', '.join(names[:3])})"
                if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
                    return "it is a compressed archive, which torch does not write"
                if damaged := archive.testzip():
                    return f"it is damaged, the checksum of {damaged} differs; copy it again"
        except zipfile.BadZipFile:
            return f"it is cut short or damaged ({path.stat().st_size:,} bytes); copy it again"
        except Exception as error:  # what a damaged archive makes of Python's reader has no common class
            if isinstance(error, OSError) and error.errno != errno.EINVAL:
                raise  # the disk's
            return f"it is damaged ({error}); copy it again"
    return None
