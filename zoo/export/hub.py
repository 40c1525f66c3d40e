"""Exported folders on the Hugging Face Hub."""

import re
import shutil
from pathlib import Path
from typing import Any

from mtlzoo.export.contents import (
    AOTI,
    CARD,
    CONFIG,
    ENCODING,
    INT8,
    LIST,
    ONNX,
    PT2,
    SCHEMA,
    SEEN,
    TRITON,
    VECTORS,
    WEIGHTS,
)

FOLDERS = (ENCODING, SEEN, TRITON, VECTORS)
FILES = (CONFIG, WEIGHTS, SCHEMA, CARD, LIST, PT2, AOTI, f"{ONNX}*", f"{INT8}*", *(f"{folder}/*" for folder in FOLDERS))
"""What is of an export among the files of a repository."""
_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def is_name(name: str) -> bool:
    """Whether it may be the name of a repository, ``user/repo``."""
    return _NAME.fullmatch(name) is not None


def push(folder: Path, repo: str, *, private: bool | None, token: str | None) -> str:
    """Makes a repository where there is none, and its export that of a folder; other files stay.

    Args:
        folder: A new export, which nobody else reads: its card is put there once more, under the name of the hub.
        repo: ``user/repo``.
        private: Of a repository that is made.
        token: Of the hub; the one that it keeps where there is none.

    Returns:
        Address of the repository.

    Raises:
        ValueError: The hub refuses, in its words.
    """
    hub = _hub()
    shutil.copy(folder / CARD, folder / "README.md")
    api = hub.HfApi(token=token, library_name="mtlzoo")
    try:
        made = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=made.repo_id,
            folder_path=folder,
            commit_message="Export by mtlzoo",
            delete_patterns=list(FILES),  # of an earlier export with more files
        )
    except _refusals(hub) as error:
        raise ValueError(f"{repo}: the hub refused it: {error}") from error
    return str(made)


def pull(repo: str, *, revision: str | None, token: str | None) -> Path:
    """The folder in which the hub's client keeps the export of a repository.

    Args:
        repo: ``user/repo``.
        revision: Branch, tag or commit; the main branch if None.
        token: As of `push`.

    Raises:
        ValueError: There is none, or the hub can't be reached, in its words.
    """
    hub = _hub()
    try:
        return Path(hub.snapshot_download(repo, revision=revision, token=token, allow_patterns=list(FILES)))
    except _refusals(hub) as error:
        raise ValueError(f"{repo} is no folder here, and the hub did not give it: {error}") from error


def _refusals(hub: Any) -> tuple[type[Exception], ...]:
    """What the client raises where the hub says no, or can't be reached."""
    return (hub.errors.HfHubHTTPError, hub.errors.HFValidationError, OSError)


def _hub() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ModuleNotFoundError:
        raise ValueError("no huggingface_hub. Get it with: pip install 'mtlzoo[hub]'") from None
    return huggingface_hub
