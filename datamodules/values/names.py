"""Names of columns as names of files: any name that a table may have, each its own."""

import re
from urllib.parse import quote, unquote

LONGEST = 240
"""Bytes of a file's name without its ending; file systems take 255 with it."""
_UNFIT = re.compile(r'[%/\\:*?"<>|\x01-\x1f\x7f]|^\.')


def file_stem(name: str) -> str:
    """The name with what file systems do not take written as in a URL: ``a/b`` is ``a%2Fb``.

    Raises:
        ValueError: A name that is too long for a file, or holds the character NUL, which ends names elsewhere.
    """
    if "\x00" in name:
        raise ValueError(f"Column {name!r}: a name may not hold the character NUL. Rename it.")
    stem = _UNFIT.sub(lambda found: quote(found[0], safe="") if found[0] != "." else "%2E", name)
    if len(stem.encode()) > LONGEST:
        raise ValueError(f"Column {name[:40] + '...'!r}: a name of {len(name)} characters; rename it, {LONGEST} fit.")
    return stem


def name_of(stem: str) -> str:
    """The name that `file_stem` wrote."""
    return unquote(stem)
