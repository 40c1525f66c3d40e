"""Where a run keeps what it writes: config.yaml, metrics.csv, checkpoints/, results.json, predictions/."""

import errno
import inspect
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from jsonargparse import Namespace
from lightning.pytorch.utilities import rank_zero_only

from mtlzoo.callbacks.atomic import PARTS, own_folder, whole_file
from mtlzoo.cli.parser import import_class

MARK = "# Written by mtlzoo into its run folder."
"""First line of a run's config.yaml."""
PATIENCE = 10.0
"""Seconds that a training waits for another one in the same folder, which may be about to end."""


def run_name(model: str, data: str, rule: str | None, seed: int | bool) -> str:
    """``<data>-<model>[-<rule>][-s<seed>]``: name of a run's folder and of its W&B run."""
    return "-".join([data, model, *([rule] if rule else []), *([] if seed is False else [f"s{seed}"])])


def describe(options: Namespace) -> dict[str, Any]:
    """What a run is, in a few flat entries: names of the run, model, data set and rule, the seed, what is not default.

    Args:
        options: Parsed options of a command.
    """
    model, data = (options[key].class_path.rpartition(".")[2] for key in ("model", "data"))
    data = table_name(options.data.init_args) or data
    with_rules = [callback for callback in listed(options.trainer.callbacks) if _arguments(callback).get("rule")]
    rules = [_arguments(callback)["rule"] for callback in with_rules]
    marks = [
        [mark for part in (rule, callback) for mark in _marks(changed(part))]
        for rule, callback in zip(rules, with_rules, strict=True)
    ]
    named = "+".join("-".join([_name(rule), *those]) for rule, those in zip(rules, marks, strict=True)) or None
    seed = options.seed_everything
    return {
        "run_name": run_name(model, data, named, seed),
        "model_name": model,
        "data_name": data,
        "rule_name": "+".join(map(_name, rules)) or "sum",
        "rule_options": " ".join(mark for those in marks for mark in those),
        "changed": " ".join(f"{name}={value}" for key in ("model", "data") for name, value in changed(options[key])),
        "seed": seed,
    }


def table_name(arguments: Any) -> str | None:
    """What somebody's own table is called: its one file, or the folder that its files lie in; None for a data set."""
    if "schema_file" not in arguments:
        return None
    train = listed(arguments.train)
    folder = Path(arguments.root).expanduser().resolve()
    plain = len(train) == 1 and not set("*?[") & set(str(train[0]))
    name = Path(str(train[0])).name.partition(".")[0] if plain else folder.name
    name = folder.name if name.lower() in ("", "train", "training") else name
    return re.sub(r"[^\w.+]+", "_", name) or "table"


def changed(part: Any) -> list[tuple[str, Any]]:
    """Plain options of a class on the command line that are not its defaults; paths and mappings are left out."""
    if not isinstance(part, Namespace):  # a function, as a rule may be
        return []
    kind = import_class(part.class_path)
    defaults = {
        name: parameter.default
        for base in reversed(kind.__mro__)
        for name, parameter in inspect.signature(vars(base).get("__init__", object.__init__)).parameters.items()
    }
    options = _arguments(part).items()
    plain = [(name, value) for name, value in options if isinstance(value, bool | int | float | str)]
    return [(n, v) for n, v in plain if n in defaults and v != defaults[n] and n not in ("root", "prepared")]


def _arguments(part: Any) -> Any:
    return part.get("init_args") or {}


def _marks(options: Iterable[tuple[str, Any]]) -> list[str]:
    """Options for the name of a folder; a word says by itself what it means: ``row``, ``fixed``."""
    return [re.sub(r"[^\w.=+]+", "_", str(v) if isinstance(v, str) else f"{n}={v}") for n, v in options]


def listed(value: Any) -> list[Any]:
    """An option of the Trainer that may be a list, one thing, or None or False for nothing."""
    if value is None or value is False:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


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


def _name(rule: Any) -> str:
    """Of a class with arguments, or of a function."""
    return str(rule.class_path.rpartition(".")[2] if isinstance(rule, Namespace) else rule.__name__)


def _number(folder: Path) -> int:
    number = folder.name.removeprefix("version_")
    return int(number) if number.isdigit() else -1


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
