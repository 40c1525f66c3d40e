"""What an exported folder holds, and whether it is whole; imports neither torch nor lightning."""

import hashlib
import json
from pathlib import Path, PurePosixPath
from typing import Any

from mtlzoo.schema import FeatureSchema

CONFIG = "config.yaml"
"""The model's class and options, and of its run what says nothing about a machine."""
WEIGHTS = "model.safetensors"
SCHEMA = "schema.json"
"""Features and tasks as the model takes them."""
ENCODING = "encoding"
"""Vocabularies and statistics: what `mtlzoo.datamodules.prepare.encoding.Encoding` keeps."""
SEEN = "seen"
"""Of a model of rankings: what each user has seen in train, as `mtlzoo.datamodules.prepare.lists.Lists` keeps it."""
CARD = "card.md"
PT2, ONNX = "model.pt2", "model.onnx"
"""The network alone, from encoded features to predictions."""
INT8 = "model.int8.onnx"
"""The same as ONNX with tables of int8; not what is served unless somebody asks for it."""
AOTI = "model.aoti.pt2"
"""The same as machine code, for the processor and the torch that it was made with."""
TRITON = "triton"
"""A model repository of the Triton Inference Server."""
VECTORS = "vectors"
"""Of a model of rankings: users and items as vectors whose inner products are the scores."""
LIST = "files.json"
"""Format of the folder, and SHA-256 of every file."""
FORMAT = 1


def seal(folder: Path) -> None:
    """Records every file of a folder that is complete."""
    files = {path.relative_to(folder).as_posix(): _digest(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    (folder / LIST).write_text(json.dumps({"format": FORMAT, "files": files}, indent=2) + "\n")


def check(folder: Path, *parts: str) -> None:
    """Compares files with what was recorded when they were exported.

    Args:
        folder: The exported folder.
        parts: Files, or folders within.

    Raises:
        ValueError: It is no exported folder, or files of these parts are missing or others.
    """
    recorded = _recorded(folder)
    if gone := [part for part in parts if not any(_within(name, part) for name in recorded)]:
        raise ValueError(f"{folder}: {LIST} knows no {', '.join(gone)}; it was exported without. Export it again.")
    for name in (name for name in recorded if any(_within(name, part) for part in parts)):
        path = folder / name
        if not path.is_file():
            raise ValueError(f"{folder} is incomplete: {name} is missing. Copy or export the whole folder again.")
        if _digest(path) != recorded[name]:
            raise ValueError(
                f"{folder} is damaged: {name} is not the file that was exported ({path.stat().st_size:,} bytes; the "
                f"SHA-256 in {LIST} is another). Copy or export the whole folder again."
            )


def holds(folder: Path, part: str) -> bool:
    """Whether a folder was exported with a file, or a folder within."""
    return any(_within(name, part) for name in _recorded(folder))


def strangers(folder: Path) -> list[str]:
    """Files of a folder that no export wrote, or that were changed since."""
    try:
        recorded = _recorded(folder)
    except ValueError:
        recorded = {}
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))}
    found = {name: path for name, path in found.items() if path.is_symlink() or not path.is_dir()}
    if recorded:
        found.pop(LIST)
    return [name for name, path in found.items() if path.is_symlink() or recorded.get(name) != _digest(path)]


def network_names(schema: FeatureSchema) -> tuple[dict[str, str], dict[str, str]]:
    """Names of the inputs and outputs of ``model.onnx``, by key of a batch and by task.

    They are the same, but for a task that is called like an input.
    """
    kinds = {"categorical": schema.categorical, "numeric": schema.numeric}
    inputs = [*(name for name, features in kinds.items() if features), *(feature.name for feature in schema.sequences)]
    outputs = {task.name: task.name for task in schema.tasks}
    for task in outputs:
        while outputs[task] in inputs or list(outputs.values()).count(outputs[task]) > 1:
            outputs[task] += "_"
    return {name: name for name in inputs}, outputs


def _recorded(folder: Path) -> dict[str, str]:
    path = folder / LIST
    if not path.is_file():
        held = sorted(entry.name for entry in folder.iterdir())[:6]
        remedy = "Give a checkpoint (of a run RUN/checkpoints/best.ckpt), or a folder that mtlzoo export wrote."
        raise ValueError(
            f"{folder} is no exported model: it has no {LIST}, but {', '.join(held) or 'nothing'}. {remedy}"
        )
    try:
        plain: Any = json.loads(path.read_bytes())
        version, files = plain["format"], plain["files"]
        whole = isinstance(files, dict) and all(isinstance(text, str) for text in files.values())
    except (ValueError, TypeError, KeyError):
        version, whole = FORMAT, False
    if version != FORMAT:
        raise ValueError(f"{folder}: is of format {version}, this version of mtlzoo reads {FORMAT}. Export it again.")
    if not whole or any(PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts for name in files):
        raise ValueError(f"{folder} is damaged: {path.name} is no list of its files. Copy or export it again.")
    return files  # type: ignore[no-any-return]  # looked at above


def _within(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}/")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
