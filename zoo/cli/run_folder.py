"""Where a run keeps what it writes: config.yaml, metrics.csv, checkpoints/, results.json, predictions/."""

import errno
import json
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from lightning.pytorch.utilities import rank_zero_only

from mtlzoo.callbacks.atomic import PARTS, own_folder, whole_file

MARK = "# Written by mtlzoo into its run folder."
"""First line of a run's config.yaml."""
PATIENCE = 10.0
"""Seconds that a training waits for another one in the same folder, which may be about to end."""


def folder_of(checkpoint: Path) -> Path | None:
    """The run folder that a checkpoint lies in, or None where it lies elsewhere; a link is not followed to another."""
    place = _place(checkpoint).parent
    return place.parent if place.name == "checkpoints" and (place.parent / "config.yaml").is_file() else None


def may_be_written(folder: Path) -> None:
    """Looks whether files can be put into a folder, or into one that would be made there.

    Raises:
        OSError: They can't.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not existing.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is no folder", str(existing))
    if not os.access(existing, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "may not be written", str(existing))


@contextmanager
def taken(folder: Path, part: str) -> Iterator[None]:
    """Keeps a run folder to this process while it writes there.

    Args:
        folder: The run folder.
        part: The sub-folder that will be written; it need not exist.

    Raises:
        OSError: One of the two is a link or may not be written.
        ValueError: Another process trains in the folder.
    """
    if getattr(rank_zero_only, "rank", 0):
        yield
        return
    for place in (own_folder(folder), folder / part):
        if place.is_symlink():
            own_folder(place)  # says what is wrong
        may_be_written(place)
    if part != "checkpoints":
        yield
        return
    lock = FileLock(folder / ".lock")
    if (folder / ".lock").is_symlink():
        (folder / ".lock").unlink()
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        raise ValueError(
            f"{folder} is being trained by another process. Wait until it ends, or start a run of its own: without "
            "--ckpt_path, or from another folder's checkpoint."
        ) from None
    try:
        for name in ("config.yaml", "metrics.csv", "fit.json", "checkpoints/"):
            for left in folder.glob(f"{name}{PARTS}" if name.endswith("/") else PARTS.replace("*", name, 1)):
                left.unlink()  # of a process that was killed
        yield
    finally:
        lock.release()


def new_folder(root: Path, name: str) -> Path:
    """Makes ``root/name/version_k`` with the smallest k above all that are there.

    Rank 0 makes it, and no two processes get the same one; other ranks get a guess, so take rank 0's by broadcast.
    """
    parent = root.expanduser().resolve() / name
    while True:
        folder = parent / f"version_{max(map(_number, parent.glob('version_*')), default=-1) + 1}"
        if getattr(rank_zero_only, "rank", 0):
            return folder
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not parent.is_dir():  # a file or a broken link is in its place
                raise
            continue
        return folder


def named_checkpoint(which: str, configs: Sequence[Path], root: Path, name: str) -> Path:
    """``best`` or ``last`` of a run.

    Args:
        which: ``best`` or ``last``.
        configs: Config files in use; where one is the config.yaml of a run, it is that run and no other.
        root: Else the newest run of the name under this folder that has such a checkpoint.
        name: See `run_name`.

    Raises:
        FileNotFoundError: There is none; the message says what the run holds.
    """
    run = next((_place(path).parent for path in reversed(configs) if _of_run(path)), None)
    if run is not None:
        path = run / "checkpoints" / f"{which}.ckpt"
        if path.is_file():
            return path
        held = sorted(
            str(p.relative_to(run)) for p in [*run.glob("[!.]*"), *run.glob("checkpoints/*.ckpt")] if p.is_file()
        )
        raise FileNotFoundError(
            f"{run} has no checkpoints/{which}.ckpt; it holds {', '.join(held)}. Take another of its checkpoints, or "
            "train first; one of another run needs its path."
        )
    parent = root.expanduser().resolve() / name
    runs = [folder for folder in parent.glob("version_*") if not folder.is_symlink()]
    paths = [folder / "checkpoints" / f"{which}.ckpt" for folder in sorted(runs, key=_number, reverse=True)]
    if found := [path for path in paths if path.is_file()]:
        return found[0]
    raise FileNotFoundError(
        f"there is no checkpoint {parent / 'version_*' / 'checkpoints' / f'{which}.ckpt'}. Give its path, --ckpt_path "
        "RUN/checkpoints/best.ckpt, or the config of its run, -c RUN/config.yaml --ckpt_path best (or last)."
    )


def _place(path: Path) -> Path:
    """Where a path leads by its words; `Path.resolve` would follow links out of a run folder."""
    return Path(os.path.abspath(path.expanduser()))  # noqa: PTH100


def _of_run(config: Path) -> bool:
    """Whether a config is the one that a run wrote into its folder."""
    folder = config.parent
    if config.name != "config.yaml" or not config.is_file():
        return False
    with config.open(errors="replace") as file:
        marked = file.readline().startswith(MARK)
    written = ("checkpoints", "metrics.csv", "fit.json", "results.json")
    return marked or _number(folder) >= 0 or any((folder / name).exists() for name in written)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` so that the file is either absent, the old one or the whole new one; NaN becomes null."""
    with whole_file(path, "w") as file:
        json.dump(_finite(value), file, indent=2)


def read_json(path: Path) -> Any:
    """What `write_json` wrote.

    Raises:
        ValueError: The file is damaged.
    """
    try:
        record = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}. Write it again, or delete it.") from None
    if not isinstance(record, dict):
        raise ValueError(f"{path} is damaged: it holds {type(record).__name__}. Write it again, or delete it.")
    return record


def _number(folder: Path) -> int:
    number = folder.name.removeprefix("version_")
    return int(number) if number.isdigit() else -1


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
