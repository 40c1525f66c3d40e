"""`examples/serve.py` as a process of its own, asked over loopback: answers, refusals, no error of its own."""

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import httpx
import onnxruntime
import pytest

from mtlzoo import Task, serving
from mtlzoo.datamodules import DataError

REPOSITORY = Path(__file__).parents[3]
EXAMPLE = REPOSITORY / "examples/serve.py"
PAGE = (REPOSITORY / "docs/answers.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def port(served: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Of a running server, which must not have failed at anything when it is told to end."""
    log = tmp_path_factory.mktemp("log") / "stderr"
    command = [sys.executable, str(EXAMPLE), str(served), "--port", "0"]
    with log.open("wb") as file:
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=file)
    try:
        end = time.monotonic() + 60
        while not (found := re.search(r"running on http://127\.0\.0\.1:(\d+)", log.read_text())):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        yield int(found[1])
        server.terminate()
        server.wait(timeout=30)
        assert "Traceback" not in log.read_text()
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def model(served: Path) -> serving.ServedModel:
    """What the server has."""
    session = onnxruntime.SessionOptions()
    session.intra_op_num_threads = 1
    return serving.load(served, sess_options=session)


def asked(port: int, body: Any, path: str = "/predict", **headers: str) -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET" if body is None else "POST", path, body, headers, encode_chunked=bool(headers))
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_many_requests_at_once_are_answered_as_predict_does(
    answering: SimpleNamespace, model: serving.ServedModel, port: int
) -> None:
    rows = answering.new.to_dicts()
    parts = {n: (rows * 2)[n : 2 * n] if n < 500 else rows * 2 for n in (1, 32, 1000)}
    expected = {n: model.predict([{name: row[name] for name in model.columns} for row in parts[n]]) for n in parts}
    bodies = {n: json.dumps(part) for n, part in parts.items()}

    def ask(number: int) -> bool:
        n = 1000 if number % 12 == 0 else (1, 32)[number % 2]
        return asked(port, bodies[n]) == (200, expected[n])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(240)))
    tasks = ["click", "stars", "kind", "genres"]
    assert asked(port, None, "/health") == (200, {"status": "ok", "columns": model.columns, "tasks": tasks})


def test_wrong_rows_are_told_what_predict_says(
    answering: SimpleNamespace, model: serving.ServedModel, port: int
) -> None:
    row, *_ = answering.new.select(model.columns).drop_nulls().to_dicts()
    assert asked(port, json.dumps([row | {"request": {"of": ["nobody"]}}]))[0] == 200  # others are not looked at
    for wrong in ({"price": "dear"}, {"price": 1e999}, {"tags": "[1, [2]]"}, {"item_id": [3]}, {"user_id": {"a": 1}}):
        rows = [row, row | wrong]
        with pytest.raises(DataError, match=next(iter(wrong))) as told:
            model.predict(rows)
        body = json.dumps(rows).replace("Infinity", "1e999")  # which Python reads so
        assert asked(port, body) == (422, {"detail": str(told.value)})
    status, said = asked(port, json.dumps([row, {name: value for name, value in row.items() if name != "age"}]))
    assert status == 422
    assert said["detail"].startswith("row 2: no column ['age']; it has ['user_id', ")
    status, said = asked(port, json.dumps([row | {"price": "x" * 9999}]))
    assert (status, len(said["detail"])) == (422, 4000)
    status, said = asked(port, json.dumps([row | {"item_id": "\ud800"}]))
    assert status == 422
    assert "column 'item_id' holds '\\ud800'" in said["detail"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", "found no JSON"),
        ("[{]", "found no JSON"),
        (b"\xff", "found no JSON"),
        ("[NaN]", "NaN is no number of JSON"),
        ("[" * 100_000, "found no JSON"),
        ("[]", "with at least one row"),
        ("{}", "allowed is a JSON list of objects"),
        ("[[1]]", "allowed is a JSON list of objects"),
    ],
)
def test_what_is_no_list_of_rows_is_refused(port: int, body: Any, words: str) -> None:
    status, said = asked(port, body)
    assert status == 422
    assert words in said["detail"]


def test_what_is_too_large_is_refused(answering: SimpleNamespace, port: int) -> None:
    (row,) = answering.new[:1].to_dicts()
    status, said = asked(port, json.dumps([row] * 4097))
    assert (status, said["detail"][:45]) == (413, "found 4,097 rows; allowed are up to 4,096. Se")
    bytes_too_many = (
        413,
        {"detail": "found more than 16,777,216 bytes; allowed are up to so many. Send the rows in several requests."},
    )
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.putrequest("POST", "/predict")
    connection.putheader("Content-Length", str(1 << 40))
    connection.endheaders()
    response = connection.getresponse()  # none of it has been sent
    assert (response.status, json.loads(response.read())) == bytes_too_many
    connection.close()
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.putrequest("POST", "/predict")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    for _ in range(17):
        connection.send(b"100000\r\n" + b" " * (1 << 20) + b"\r\n")
    response = connection.getresponse()  # it has not ended
    assert (response.status, json.loads(response.read())) == bytes_too_many
    connection.close()
    assert asked(port, None, "/health")[0] == 200


def test_the_page_says_what_the_example_does() -> None:
    module = example()
    assert "\npython examples/serve.py exported --port 8000\n" in PAGE
    assert f"over {module.MOST_ROWS:,} rows or {module.MOST_BYTES >> 20} MiB" in PAGE


def example() -> Any:
    """The file as a module."""
    module = ModuleType("serve")
    exec(compile(EXAMPLE.read_text(encoding="utf-8"), str(EXAMPLE), "exec"), module.__dict__)
    return module


def test_health_is_told_while_all_threads_are_busy() -> None:
    asking, done, most = threading.Semaphore(0), threading.Event(), os.cpu_count() or 1

    def predict(rows: Any) -> Any:
        asking.release()
        assert done.wait(60)
        return [{"click": 0.5} for _ in rows]

    schema = SimpleNamespace(tasks=[Task("click")])
    app = example().make_app(SimpleNamespace(columns=["x"], schema=schema, predict=predict))

    async def run() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            posted = [asyncio.create_task(client.post("/predict", content=b'[{"x": 1}]')) for _ in range(most + 3)]
            for _ in range(most):
                await asyncio.to_thread(asking.acquire, timeout=60)
            assert (await client.get("/health")).json()["tasks"] == ["click"]
            assert not asking.acquire(blocking=False)  # the others wait for one of the threads
            assert not any(each.done() for each in posted)
            done.set()
            assert [(await each).json() for each in posted] == [[{"click": 0.5}]] * len(posted)

    asyncio.run(run())


def test_a_number_that_there_is_not_is_null() -> None:
    answers = [{"click": float("nan"), "genres": [0.5, float("inf")]}]
    served = SimpleNamespace(columns=["x"], predict=lambda rows: answers)
    assert example().answered(served, b'[{"x": 1}]') == b'[{"click": null, "genres": [0.5, null]}]'
