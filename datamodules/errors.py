"""Errors about data, each with what was found and the remedy."""

from collections.abc import Sequence


class DataError(ValueError):
    """The raw data are not what they should be: says file, line or column, value and remedy."""


class DamagedError(DataError):
    """Prepared data are not what was written: says which file and how it differs."""


class DataWarning(UserWarning):
    """Prepared data look wrong: ids that train does not know, a column that says nothing."""


class MissingColumnError(DataError):
    """A table lacks columns, which are `missing`."""

    def __init__(self, message: str, missing: Sequence[str]) -> None:
        super().__init__(message)
        self.missing = list(missing)


class DatasetNotFoundError(FileNotFoundError):
    """Raw files are missing and can't be downloaded: says which, where they were looked for, and how to get them."""
