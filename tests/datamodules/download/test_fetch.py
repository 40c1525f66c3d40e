"""Downloads from a server that breaks, cannot resume, or has something else."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mtlzoo.datamodules.download import download
from mtlzoo.datamodules.download import fetch as module
from mtlzoo.datamodules.errors import DataError, DatasetNotFoundError

DATA = bytes(range(256)) * 20_000  # 5 MB
MD5 = hashlib.md5(DATA).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `DATA` as the server object says."""

    server: "Server"

    def do_GET(self) -> None:
        self.server.ranges.append(self.headers.get("Range"))
        if self.server.statuses:
            self.send_error(self.server.statuses.pop(0))
            return
        asked = self.headers.get("Range") if self.server.resumes else None
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if start >= len(DATA):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(DATA)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(DATA) - 1}/{len(DATA)}")
        self.send_header("Content-Length", str(len(DATA) - start))
        self.end_headers()
        end = self.server.breaks_at.pop(0) if self.server.breaks_at else len(DATA)
        self.wfile.write(DATA[start:end])

    def log_message(self, *args: Any) -> None:
        """Says nothing."""


class Server(http.server.ThreadingHTTPServer):
    """What the handler does and what it was asked."""

    resumes = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges: list[str | None] = []
        self.breaks_at: list[int] = []
        self.statuses: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/data.tar.gz"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(module, "WAITS", (0.0, 0.0, 0.0))
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_downloads_once(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "raw/data.tar.gz"
    assert download(server.url, path, md5=MD5.upper(), sha256=hashlib.sha256(DATA).hexdigest()) == path
    assert path.read_bytes() == DATA
    download(server.url, path, md5=MD5)
    assert server.ranges == [None]
    assert names(path.parent) == ["data.tar.gz"]


@pytest.mark.parametrize("resumes", [True, False])
def test_a_broken_connection_goes_on(server: Server, tmp_path: Path, resumes: bool) -> None:
    server.resumes = resumes
    server.breaks_at = [1_500_000, 3_000_000]
    download(server.url, tmp_path / "x", md5=MD5)
    assert (tmp_path / "x").read_bytes() == DATA
    assert server.ranges[0] is None
    assert server.ranges[1:] == ["bytes=1500000-", "bytes=3000000-"]


def test_an_interrupted_download_goes_on_in_the_next_call(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.part").write_bytes(DATA[:1000])
    download(server.url, tmp_path / "x", md5=MD5)
    assert (tmp_path / "x").read_bytes() == DATA
    assert server.ranges == ["bytes=1000-"]
    (tmp_path / "y.part").write_bytes(DATA)  # killed just before it got its name
    download(server.url, tmp_path / "y", md5=MD5)
    assert (tmp_path / "y").read_bytes() == DATA


def test_a_part_is_not_trusted_without_a_checksum(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.part").write_bytes(b"of another file")
    download(server.url, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA


def test_a_part_that_is_too_long_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.part").write_bytes(DATA + b"more")
    download(server.url, tmp_path / "x", md5=MD5)
    assert (tmp_path / "x").read_bytes() == DATA


def test_wrong_checksum(server: Server, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=rf"x.part: md5 is {MD5}, expected {'0' * 32}. Try again; .*{server.url} has changed"
    ):
        download(server.url, tmp_path / "x", md5="0" * 32)
    assert names(tmp_path) == []
    (tmp_path / "x").write_bytes(b"something else")
    with pytest.raises(DataError, match=rf"x: md5 is .*, expected {MD5}. Delete it and get it again from"):
        download(server.url, tmp_path / "x", md5=MD5)
    assert (tmp_path / "x").read_bytes() == b"something else"


def test_a_busy_server_is_asked_again_but_not_for_ever(server: Server, tmp_path: Path) -> None:
    server.statuses = [503, 429]
    download(server.url, tmp_path / "x", md5=MD5)
    server.statuses = [503] * 4
    with pytest.raises(DatasetNotFoundError, match=r"503.*Check the connection.*with a browser and put it at .*/y"):
        download(server.url, tmp_path / "y", md5=MD5)


def test_what_the_server_does_not_have(server: Server, tmp_path: Path) -> None:
    server.statuses = [404]
    with pytest.raises(DatasetNotFoundError, match=r"data.tar.gz: the server says 404 .*put it at .*/x"):
        download(server.url, tmp_path / "x")
    assert len(server.ranges) == 1


def test_no_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITS", ())
    with pytest.raises(DatasetNotFoundError, match=r"127.0.0.1:9/x: .*Check the connection"):
        download("http://127.0.0.1:9/x", tmp_path / "x")
