"""`mtlzoo.serving`: the numbers of the model, in processes that have no torch."""

import re
import subprocess
import sys
import venv
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from packaging.requirements import Requirement

import mtlzoo
from mtlzoo import serving
from mtlzoo.datamodules import DataError, DataWarning

REPOSITORY = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("without_torch.py")
PAGE = (REPOSITORY / "docs/answers.md").read_text(encoding="utf-8")
TASKS = ["click", "stars", "kind", "genres"]


def close(found: pl.DataFrame, expected: pl.DataFrame) -> None:
    """Names and types, and numbers within 1e-6."""
    assert found.schema == expected.schema
    for name in expected.columns:
        np.testing.assert_allclose(found[name].to_numpy(), expected[name].to_numpy(), rtol=1e-6, atol=1e-6)


def test_it_answers_as_the_model_does(
    answering: SimpleNamespace, served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, expected = serving.load(served), answering.predicted.select(TASKS)
    close(model.predict(answering.new), expected)
    monkeypatch.setattr("mtlzoo.serving.model.BATCH", 64)
    close(model.predict(answering.new.drop("request")), expected)
    frame = model.predict(answering.new.to_pandas().set_index("request"))
    assert isinstance(frame, pd.DataFrame)
    assert frame.index.tolist() == answering.new["request"].to_list()
    (one,) = model.predict([answering.new.row(7, named=True)])
    assert one["click"] == pytest.approx(expected["click"][7], abs=1e-6)
    assert model.predict(answering.new[:0]).schema == expected.schema
    assert model.predict([]) == []
    assert model.columns == ["user_id", "item_id", "city", "price", "age", "tags", "past"]
    assert repr(model).startswith("ServedModel(FeatureSchema(")


def test_what_is_wrong_is_said_as_the_model_does(answering: SimpleNamespace, served: Path) -> None:
    wrong: list[Any] = [answering.new.drop("price"), answering.new.with_columns(price=pl.lit("dear")), 7]
    for rows in wrong:
        with pytest.raises(DataError) as told:
            mtlzoo.load(answering.exported).predict(rows)
        with pytest.raises(DataError) as found:
            serving.load(served).predict(rows)
        assert str(found.value) == str(told.value)
    with pytest.warns(DataWarning, match="predict: 100% of the ids of 'user_id' in predict are unknown, 'x' for"):
        serving.load(served).predict(answering.new.with_columns(user_id=pl.lit("x")))


def test_folders_that_can_not_be_served_are_refused(answering: SimpleNamespace, tmp_path: Path) -> None:
    model = mtlzoo.load(answering.exported)
    model.save_pretrained(tmp_path / "m")
    with pytest.raises(ValueError, match=r"files\.json knows no model\.onnx; it was exported without"):
        serving.load(tmp_path / "m")
    with pytest.raises(ValueError, match="is no exported model"):
        serving.load(answering.run)
    with pytest.raises(ValueError, match="is no folder"):
        serving.load(tmp_path / "none")


def test_a_process_without_torch_gives_the_same_numbers(
    answering: SimpleNamespace, served: Path, tmp_path: Path
) -> None:
    words = [str(served), str(answering.root / "new.parquet"), str(tmp_path / "answers.parquet")]
    subprocess.run([sys.executable, str(SCRIPT), *words, "--block"], check=True)
    close(pl.read_parquet(tmp_path / "answers.parquet", glob=False), answering.predicted.select(TASKS))


def needed(names: list[str]) -> set[str]:
    """Packages with all that they need, of those that are here."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            wanted = distribution(name).requires or []
        except PackageNotFoundError:
            continue  # of another system
        found.add(name)
        requirements = map(Requirement, wanted)
        waiting += [each.name for each in requirements if each.marker is None or each.marker.evaluate({"extra": ""})]
    return found


@pytest.mark.slow
def test_an_environment_without_torch_gives_the_same_numbers(
    answering: SimpleNamespace, served: Path, tmp_path: Path
) -> None:
    """Of the packages that docs/answers.md says, linked, as nothing is downloaded in a test."""
    (said,) = re.findall(r"^pip install (onnxruntime .*)$", PAGE, re.MULTILINE)
    names = needed(said.split())
    assert "torch" not in names
    venv.create(tmp_path / "venv", symlinks=True)
    site = next((tmp_path / "venv/lib").glob("python*/site-packages"))
    for name in names:
        package = distribution(name)
        for top in {file.parts[0] for file in package.files or [] if file.parts[0] != ".."}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(package.locate_file(top))).resolve())
    (site / "mtlzoo").mkdir()
    parts = [*(REPOSITORY / "zoo").iterdir(), *(REPOSITORY / each for each in ("callbacks", "configs", "datamodules"))]
    for part in parts:
        (site / "mtlzoo" / part.name).symlink_to(part)
    words = [str(served), str(answering.root / "new.parquet"), str(tmp_path / "answers.parquet")]
    python = str(tmp_path / "venv/bin/python")
    assert subprocess.run([python, "-c", "import torch"], capture_output=True).returncode
    subprocess.run([python, "-I", str(SCRIPT), *words], check=True)
    close(pl.read_parquet(tmp_path / "answers.parquet", glob=False), answering.predicted.select(TASKS))
