"""From a checkpoint file to a model, whatever its class; a file from somebody else runs no code."""

import errno
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from mtlzoo.export.folder import read_folder
from mtlzoo.module import MultiTaskModule
from mtlzoo.saved_model import is_whole, make

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
    """The model of a checkpoint or of an exported folder, of the class that was saved, ready to predict.

    Nothing is imported because a file says so: the class is one of `mtlzoo`, one that this process has imported, or
    `model`.

    Args:
        path: Checkpoint written by a Trainer, or a folder of ``mtlzoo export`` or `save_pretrained`.
        map_location: Device of the weights.
        model: The class, where the file names one that this process does not know.
        **changes: Constructor arguments that replace the saved ones.

    Returns:
        The model in evaluation mode.

    Raises:
        FileNotFoundError: Nothing is there.
        ValueError: What is there is damaged, or no model of mtlzoo, or names a class that is not known.
    """
    saved = read_folder(Path(path)) if Path(path).is_dir() else read(path, map_location)
    made = make(saved, path, MultiTaskModule, map_location, model, **changes)  # type: ignore[type-abstract]
    made.loaded_from = Path(path).absolute()
    return made


def read(path: str | os.PathLike[str], map_location: Any = "cpu", *, mmap: bool = False) -> dict[str, Any]:
    """The entries of a checkpoint of a model of ours, after every byte of it was compared with its checksums.

    Args:
        path: The file.
        map_location: Device of the tensors.
        mmap: Whether the tensors stay in the file until they are used.

    Raises:
        FileNotFoundError: Nothing is there.
        ValueError: Something else, or damaged; one line says what was found.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"there is no {path}. Give a checkpoint (RUN/checkpoints/best.ckpt) or a folder of mtlzoo export; what "
            "lies on the Hugging Face Hub is loaded with MultiTaskModule.from_pretrained('user/repo')."
        )
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
    if not is_whole(checkpoint):
        raise ValueError(f"{path} is not a whole checkpoint: class, options or weights of the model are missing.")
    return checkpoint


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
