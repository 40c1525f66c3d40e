"""Where a publisher's files are."""

from collections.abc import Sequence
from pathlib import Path

from mtlzoo.datamodules.errors import DatasetNotFoundError


def there(path: Path) -> bool:
    """Whether the file is there.

    Raises:
        DatasetNotFoundError: Something else is in its place: a folder, a link to nothing, a pipe.
    """
    if path.is_file():
        return True
    if path.exists() or path.is_symlink():
        other = f"a link to {path.readlink()}, which is not there" if path.is_symlink() else "a pipe or a device"
        found = "a folder" if path.is_dir() else other
        raise DatasetNotFoundError(f"{path}: {found}, where a file is expected. Put the file there, or take it away.")
    return False


def present(folder: Path, names: Sequence[str]) -> tuple[Path, ...]:
    """Files of these names in `folder`, plain before gzipped.

    Raises:
        DatasetNotFoundError: As `there`.
    """
    pairs = ((folder / name, folder / f"{name}.gz") for name in names)
    found = (next((path for path in pair if there(path)), None) for pair in pairs)
    return tuple(path for path in found if path)
