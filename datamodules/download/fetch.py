"""Public files from the web: resumed, checked, and either whole or not there."""

import hashlib
import http.client
import os
import shutil
import ssl
import time
import urllib.error
import urllib.request
from os import PathLike
from pathlib import Path
from typing import BinaryIO

from mtlzoo.datamodules.download.locks import locked
from mtlzoo.datamodules.download.progress import progress
from mtlzoo.datamodules.download.web_pages import refuse_page
from mtlzoo.datamodules.errors import DataError, DatasetNotFoundError

WAITS = (1.0, 2.0, 4.0, 8.0)
"""Seconds between the attempts to go on with a broken connection."""
_BLOCK = 1 << 20
_BROKEN = (urllib.error.URLError, ConnectionError, TimeoutError, ssl.SSLError, http.client.HTTPException)


def download(url: str, path: str | PathLike[str], *, md5: str = "", sha256: str = "") -> Path:
    """Downloads a file unless it is there.

    A broken download goes on where it stopped: in the same call always; in a later one where a checksum proves in the
    end that both parts belong together. The file gets its name when it is whole and its checksum is right.

    Args:
        url: Where from.
        path: Where to; folders are made.
        md5: Expected checksum in hexadecimal digits, if the publisher gives one.
        sha256: The same of the other kind.

    Returns:
        The path.

    Raises:
        DatasetNotFoundError: The server does not have it or cannot be reached.
        DataError: The checksum is wrong, or the file that is there is a web page.
    """
    path = Path(path)
    expected = {kind: digest.lower() for kind, digest in (("md5", md5), ("sha256", sha256)) if digest}
    path.parent.mkdir(parents=True, exist_ok=True)
    waiting = f"{path.name}: waiting for another process that downloads it"
    with locked(path.with_name(f".{path.name}.lock"), waiting=waiting):
        if path.exists():
            refuse_page(path)
            _check(path, expected, f"Delete it and get it again from {url}")
            return path
        part = path.with_name(f"{path.name}.part")
        if not expected:
            part.unlink(missing_ok=True)
        _fetch(url, part, path)
        try:
            _check(
                part, expected, f"Try again; if it stays so, the file at {url} has changed: get the right one elsewhere"
            )
        except DataError:
            part.unlink()
            raise
        part.replace(path)
    return path


def _fetch(url: str, part: Path, path: Path) -> None:
    """Downloads into `part`, going on after breaks."""
    remedy = f"Download it with a browser and put it at {path}"
    for wait in (*WAITS, None):
        try:
            with part.open("ab") as file:
                _receive(url, file, path.name)
            return
        except urllib.error.HTTPError as error:
            error.close()
            if error.code < 500 and error.code not in (408, 429):
                raise DatasetNotFoundError(f"{url}: the server says {error.code} {error.reason}. {remedy}.") from error
            reason: Exception = error
        except _BROKEN as error:
            reason = error
        if wait is None:
            raise DatasetNotFoundError(
                f"{url}: {reason}. Check the connection and try again. Or: {remedy}."
            ) from reason
        time.sleep(wait)


def _receive(url: str, file: BinaryIO, name: str) -> None:
    """Appends what is missing of the file at `url`.

    Raises:
        ConnectionError: The connection broke; what came so far is in the file.
    """
    done = file.tell()
    request = urllib.request.Request(
        url, headers={"User-Agent": "mtlzoo", **({"Range": f"bytes={done}-"} if done else {})}
    )
    try:
        response = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        error.close()
        if error.headers.get("Content-Range") == f"bytes */{done}":
            return  # the file was whole already
        file.truncate(0)
        raise ConnectionError("the part on disk does not fit the file on the server") from error
    with response:
        if done and response.status != 206:  # the server can't go on in the middle: from the start
            file.truncate(0)
            done = 0
        length = response.headers.get("Content-Length")
        total = None if length is None else done + int(length)
        free = shutil.disk_usage(Path(file.name).parent).free
        if length is not None and int(length) > free:
            raise DataError(f"{url}: has {int(length):,} bytes, and {Path(file.name).parent} {free:,} free. Make room.")
        with progress(f"Downloading {name}", total, done=done, unit="B") as advance:
            while block := response.read(_BLOCK):
                file.write(block)
                done += len(block)
                advance(len(block))
        if total is not None and done < total:
            raise ConnectionError(f"the connection broke after {done:,} of {total:,} bytes")
        file.flush()
        os.fsync(file.fileno())


def _check(path: Path, expected: dict[str, str], remedy: str) -> None:
    for kind, digest in expected.items():
        with path.open("rb") as file:
            found = hashlib.file_digest(file, kind).hexdigest()
        if found != digest:
            raise DataError(f"{path}: {kind} is {found}, expected {digest}. {remedy}.")
