"""Progress: drawn on a terminal with amount, rate and time left, silent elsewhere."""

import io
import time

import pytest
from rich.console import Console

from mtlzoo.datamodules.download import progress as module
from mtlzoo.datamodules.download.progress import progress, say


def drawn(monkeypatch: pytest.MonkeyPatch, total: int | None, *, terminal: bool) -> str:
    stream = io.StringIO()
    monkeypatch.setattr(module, "_console", Console(file=stream, force_terminal=terminal, width=200))
    with progress("KuaiRand: reading", total) as advance:
        for _ in range(3):
            advance(1000)
            time.sleep(0.15)
    return stream.getvalue()


def test_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    known = drawn(monkeypatch, 4000, terminal=True)
    assert "KuaiRand: reading" in known
    assert "3,000 / 4,000 rows" in known
    assert "rows/s" in known
    assert "left" in known
    unknown = drawn(monkeypatch, None, terminal=True)
    assert "3,000 rows" in unknown
    assert "left" not in unknown


def test_elsewhere(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert drawn(monkeypatch, 4000, terminal=False) == ""
    monkeypatch.undo()
    say("prepared [1,000] rows: " + "/a/long/path" * 20)
    assert capsys.readouterr().err == "prepared [1,000] rows: " + "/a/long/path" * 20 + "\n"
