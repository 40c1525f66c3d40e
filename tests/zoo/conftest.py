"""The toy data of `train_script.py`, for tests in this process too."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def toy() -> ModuleType:
    """`train_script` as a module: SCHEMA, columns, InMemory."""
    path = Path(__file__).with_name("train_script.py")
    spec = importlib.util.spec_from_file_location("mtlzoo_train_script", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
