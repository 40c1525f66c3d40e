"""What this process holds at most, from a moment on. Linux only."""

import re
from pathlib import Path


def start() -> float:
    """Forgets the peak so far; MiB held now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _read("VmRSS")


def peak() -> float:
    """MiB held at most since `start`."""
    return _read("VmHWM")


def _read(name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024
