"""Runs both_names.py in a process of its own: to import `pytorch_lightning` changes where messages go."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_lightning_and_pytorch_lightning_are_served_alike() -> None:
    cases = Path(__file__).with_name("both_names.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(cases)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
