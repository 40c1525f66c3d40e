"""Matrices in MATLAB files of version 5, as Tang published Epinions and Ciao."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mtlzoo.datamodules.download.web_pages import refuse_page
from mtlzoo.datamodules.errors import DataError


def read_matrix(path: Path, names: Sequence[str], widths: Sequence[int]) -> npt.NDArray[np.int64]:
    """A matrix of whole numbers.

    Args:
        path: The file.
        names: Of the variable; the first that the file has is read.
        widths: Columns that it may have.

    Raises:
        DataError: Not such a file, no such variable, another shape, or values that are no whole numbers.
    """
    from scipy.io import loadmat  # takes its time to import

    refuse_page(path)
    remedy = "Get the file again, or save the variable in MATLAB with the option -v6"
    try:
        found = loadmat(str(path), variable_names=names)
    except NotImplementedError as error:  # what scipy says of version 7.3
        raise DataError(f"{path}: a MATLAB file of version 7.3; only older ones are read. {remedy}.") from error
    except Exception as error:  # scipy raises whatever comes of a damaged file: ValueError, TypeError, zlib.error, ...
        raise DataError(f"{path}: not a whole MATLAB file ({error}). {remedy}.") from error
    name = next((name for name in names if name in found), None)
    if name is None:
        raise DataError(f"{path}: no variable {' or '.join(map(repr, names))}. {remedy}.")
    matrix = np.asarray(found[name])
    if matrix.ndim != 2 or matrix.shape[1] not in widths or matrix.dtype.kind not in "iuf":
        allowed = " or ".join(map(str, widths))
        raise DataError(
            f"{path}: {name!r} is {matrix.dtype} of shape {matrix.shape}; allowed are numbers in {allowed} columns."
        )
    whole = (np.floor(matrix) == matrix) & (np.abs(matrix) < 2.0**63)
    if not whole.all():
        row, column = np.argwhere(~whole)[0]
        raise DataError(f"{path}: {name}[{row}, {column}] is {matrix[row, column]}; allowed are whole numbers.")
    return matrix.astype(np.int64)
