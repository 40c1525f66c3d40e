"""An exported model behind HTTP, to copy and change: ``python examples/serve.py exported --port 8000``.

``POST /predict`` takes a JSON list of objects, a row each, and gives a list of objects with a number per task, null
where the model has none. What is wrong with rows is answered with 422 and the words of `predict`, what is too large
with 413. One process: requests wait for as many threads as there are cores; ``GET /health`` answers meanwhile.
"""

import argparse
import json
import math
import os
from typing import Any, NoReturn

import onnxruntime
import uvicorn
from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, HTTPException, Request, Response

from mtlzoo.datamodules.errors import DataError
from mtlzoo.serving import ServedModel, load

MOST_ROWS, MOST_BYTES, MOST_WORDS = 4096, 16 << 20, 4000
"""Rows and bytes of a request, characters of a refusal."""
PARTS = "Send the rows in several requests."
ROWS = "a JSON list of objects, a row each: [{...}, ...]"


def make_app(served: ServedModel) -> FastAPI:
    """The routes of one model."""
    app = FastAPI(title="mtlzoo")
    threads = CapacityLimiter(os.cpu_count() or 1)
    rows = {"type": "array", "maxItems": MOST_ROWS, "items": {"type": "object", "required": served.columns}}
    body = {"required": True, "content": {"application/json": {"schema": rows}}}

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "columns": served.columns, "tasks": [task.name for task in served.schema.tasks]}

    @app.post("/predict", openapi_extra={"requestBody": body})
    async def predict(request: Request) -> Response:
        answer = await to_thread.run_sync(answered, served, await read(request), limiter=threads)
        return Response(answer, media_type="application/json")

    return app


async def read(request: Request) -> bytes:
    """The body; what is too large is refused before the rest is read, whatever its headers say."""
    refused = HTTPException(413, f"found more than {MOST_BYTES:,} bytes; allowed are up to so many. {PARTS}")
    if int(request.headers.get("content-length", 0)) > MOST_BYTES:
        raise refused
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise refused
    return bytes(body)


def answered(served: ServedModel, body: bytes) -> bytes:
    """Answers to the rows of a request as JSON, which knows no NaN."""
    try:
        rows = json.loads(body, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        refuse(422, f"found no JSON ({error}); allowed is {ROWS}.")
    if not (isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows)):
        refuse(422, f"found {body[:40]!r}; allowed is {ROWS}, with at least one row.")
    if len(rows) > MOST_ROWS:
        refuse(413, f"found {len(rows):,} rows; allowed are up to {MOST_ROWS:,}. {PARTS}")
    columns = served.columns
    for number, row in enumerate(rows, 1):
        if lacking := [name for name in columns if name not in row]:
            refuse(422, f"row {number:,}: no column {lacking}; it has {list(row)}. Give null where a value is missing.")
    try:
        answers = served.predict([{name: row[name] for name in columns} for row in rows])
    except DataError as error:
        refuse(422, str(error))
    return json.dumps([{task: plain(value) for task, value in row.items()} for row in answers]).encode()


def plain(value: Any) -> Any:
    """A number, or a list of them, with None for NaN."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value if math.isfinite(value) else None


def refuse_constant(name: str) -> NoReturn:
    """Of NaN and Infinity, which Python's reader takes."""
    raise ValueError(f"{name} is no number of JSON")


def refuse(status: int, words: str) -> NoReturn:
    """Ends the request. Words may quote long values, and half a character, which JSON may hold and UTF-8 does not."""
    raise HTTPException(status, words[:MOST_WORDS].encode(errors="replace").decode())


def main() -> None:
    """Serves one folder."""
    parser = argparse.ArgumentParser(description="Serves a folder of: mtlzoo export --formats onnx")
    parser.add_argument("folder")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0: one that is free")
    options = parser.parse_args()
    session = onnxruntime.SessionOptions()
    session.intra_op_num_threads = 1  # requests are the threads
    uvicorn.run(make_app(load(options.folder, sess_options=session)), host=options.host, port=options.port)


if __name__ == "__main__":
    main()
