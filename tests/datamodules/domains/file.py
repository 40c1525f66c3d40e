"""A file of a data set, and what its columns may hold."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domains.values import Values
from mtlzoo.datamodules import MultiTaskDataModule


@dataclass(frozen=True)
class File:
    """A file of a data set.

    Args:
        build: Writes small files into a folder.
        data: The data module on it.
        path: The file in the folder.
        columns: Those that are read.
        header: Its columns, if it has no line of names.
        separator: Between fields.
    """

    build: Callable[[Path], object]
    data: Callable[[Path], MultiTaskDataModule]
    path: str
    columns: Mapping[str, Values]
    header: Sequence[str] = ()
    separator: str = ","


def small(write: Callable[..., object], **options: Any) -> Callable[[Path], object]:
    """Writes few rows into a folder, with these options."""
    return lambda root: write(root, **options)
