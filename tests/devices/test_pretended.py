"""The switch of devices works, and what lies at the centre of the library mixes no devices: held where no GPU is."""

import os
import subprocess
import sys

import pytest
from chosen_device import TESTS

CENTRE = (
    "zoo/test_golden_models.py",  # skipped without golden numbers
    "zoo/test_data_on_device.py",
    "zoo/metrics/test_gauc.py::test_equals_a_loop_over_groups[plain-True]",
    "zoo/training/test_optimised.py::test_schedules[options0-expected0]",
    "zoo/metrics/test_metrics_contract.py::test_keeps_float64_when_the_module_changes_type[GAUC]",
    "callbacks/surgery/test_rows.py",
    "callbacks/surgery/test_callback.py::test_equals_dense_reference[64-true-1e-12-SparseTables-PCGrad-row]",
    "callbacks/rules/test_golden_rules.py::test_constant_weights",
    "callbacks/test_resume_on_device.py",
    "devices/test_deterministic.py",
    "devices/test_waits.py",
)
"""Models and their training, a metric that moves its rows, surgery by row and in a training, a rule; checkpoints,
what CUDA refuses of deterministic trainers, and what waits."""


@pytest.mark.slow
def test_the_centre_of_the_library_mixes_no_devices() -> None:
    """In a process of its own: the device must be there before any test is collected."""
    tests = [str(TESTS / test) for test in CENTRE]
    environment = os.environ | {"MTLZOO_TEST_DEVICE": "pretended", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]
    done = subprocess.run(command, cwd=TESTS.parent, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(done.stdout[-6000:] + done.stderr[-2000:])
    assert " passed" in done.stdout
