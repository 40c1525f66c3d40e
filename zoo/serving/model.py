"""`ServedModel`: an exported folder that answers raw rows with ONNX Runtime."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mtlzoo.datamodules.prepare.encoding import Encoding
from mtlzoo.datamodules.prepare.given_kind import in_kind
from mtlzoo.datamodules.prepare.row_encoder import RowEncoder
from mtlzoo.export.contents import ENCODING, INT8, ONNX, SCHEMA, check, holds, network_names
from mtlzoo.schema import FeatureSchema

BATCH = 4096
"""Rows that go through the network at a time."""
Columns = Mapping[str, npt.NDArray[Any]]


def load(folder: str | os.PathLike[str], *, int8: bool = False, **session: Any) -> "ServedModel":
    """The model of a folder that ``mtlzoo export --formats onnx`` wrote.

    Args:
        folder: The folder.
        int8: Takes the network with int8 tables, of ``--formats onnx-int8``.
        **session: Options of `onnxruntime.InferenceSession`: ``sess_options``, ``providers`` (the CPU if not given).

    Raises:
        ValueError: The folder is damaged, incomplete or something else, or has no network or encoding.
    """
    return ServedModel(Path(folder), int8=int8, **session)


class ServedModel:
    """What `load` returns: `predict` is that of a model, within 1e-6 of its numbers. Threads may ask at once.

    Args:
        folder: Of ``mtlzoo export --formats onnx``.
        int8: See `load`.
        **session: See `load`.
    """

    def __init__(self, folder: Path, *, int8: bool = False, **session: Any) -> None:
        try:
            import onnxruntime
        except ModuleNotFoundError:
            raise ValueError("no onnxruntime. Get it with: pip install 'mtlzoo[serving]'") from None
        if not folder.is_dir():
            raise ValueError(f"{folder} is no folder. Give one that mtlzoo export --formats onnx wrote.")
        network = INT8 if int8 else ONNX
        beside = f"{network}.data"  # weights that one file can't hold
        check(folder, SCHEMA, ENCODING, network, *([beside] if holds(folder, beside) else []))
        encoding = Encoding(folder / ENCODING)
        self.schema: FeatureSchema = encoding.schema
        """Features and tasks of the data."""
        self._encoder = RowEncoder(encoding)
        self._session = onnxruntime.InferenceSession(
            folder / network, **{"providers": ["CPUExecutionProvider"], **session}
        )
        self._inputs, outputs = network_names(self.schema)
        given = {output.name for output in self._session.get_outputs()}
        self._outputs = {task: name for task, name in outputs.items() if name in given}

    def __repr__(self) -> str:
        """Tasks and features."""
        return f"ServedModel({self.schema!r})"

    @property
    def columns(self) -> list[str]:
        """Columns that rows need."""
        return list(self._encoder.columns)

    def predict(self, rows: Any) -> Any:
        """Answers to raw rows; see `mtlzoo.pretrained.PretrainedModule.predict`.

        Args:
            rows: Of pandas, polars or Arrow, a dictionary of columns, or a list of dictionaries.

        Returns:
            In the kind of `rows`, with a column per task.

        Raises:
            DataError: Columns that are missing, or values that they may not hold.
        """
        columns = self._encoder(rows)
        number = len(next(iter(columns.values())))
        if not number:  # networks are not asked for nothing
            columns = {name: np.zeros((1, *values.shape[1:]), values.dtype) for name, values in columns.items()}
        parts = [self._answers(columns, start) for start in range(0, max(number, 1), BATCH)]
        answers = {task: np.concatenate([part[task] for part in parts])[:number] for task in self._outputs}
        return in_kind(rows, answers)

    def _answers(self, columns: Columns, start: int) -> Columns:
        batch = {self._inputs[name]: values[start : start + BATCH] for name, values in columns.items()}
        return dict(zip(self._outputs, self._session.run([*self._outputs.values()], batch), strict=True))
