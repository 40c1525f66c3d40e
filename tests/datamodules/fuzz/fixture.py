"""What is said of a fixture's files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from fuzz.forms import Form
from mtlzoo.datamodules import (
    MultiTaskDataModule,
)

Build: TypeAlias = Callable[[Path], MultiTaskDataModule]


@dataclass(frozen=True)
class Published:
    """A data set's files.

    Args:
        forms: By the name of the file, without ``.gz``.
        ignored: Columns of the rows that depend on other rows.
        real: Column that is 1 in the rows of the file, if others are added.
        build: Writes the files and returns the data module; that of the fixtures if None.
        free: Links that depend on all lines.
    """

    forms: Mapping[str, Form]
    ignored: tuple[str, ...] = ("split",)
    real: str = ""
    build: Build | None = None
    free: tuple[str, ...] = ()
