"""Tables of whole numbers: each row within half a step of the model's, and the loss of quality is told."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from every_model import build
from torch import nn

import mtlzoo
from mtlzoo import serving
from mtlzoo.cli import main
from mtlzoo.export.int8 import Int8Embedding
from mtlzoo.export.network import example


def test_rows_are_within_half_a_step() -> None:
    table = nn.Embedding(50, 8)
    table.weight.data *= torch.logspace(-30, 3, 50)[:, None]
    table.weight.data[3] = 0.0
    small, rows = Int8Embedding(table), torch.arange(50).view(5, 10)
    found, expected = small(rows), table(rows)
    assert found.shape == expected.shape
    step = expected.abs().amax(-1, keepdim=True) / 127
    assert ((found - expected).abs() <= step * 0.5001).all()
    assert not found[0, 3].any()


def test_the_cost_is_told(answering: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "exported"
    main(["export", "--ckpt_path", str(answering.checkpoint), "--out", str(target), "--formats", "onnx,onnx-int8"])
    said = re.search(r"onnx-int8: test/click/auc (\S+), with int8 tables (\S+?);", capsys.readouterr().out)
    assert said is not None
    assert float(said[1]) == pytest.approx(answering.results["metrics"]["test/click/auc"], abs=2e-6)
    assert float(said[2]) == pytest.approx(float(said[1]), abs=0.05)
    assert said[0].removeprefix("onnx-int8: ") in (target / "card.md").read_text()
    model = mtlzoo.load(target)
    whole = [each for each in onnx.load(target / "model.int8.onnx").graph.initializer if each.data_type == 3]
    assert sum(int(np.prod(each.dims)) for each in whole) == model.embedding.table.weight.numel()  # type: ignore[union-attr, operator]
    session = onnxruntime.InferenceSession(target / "model.int8.onnx", providers=["CPUExecutionProvider"])
    batch = example(model.schema, 64)
    found = session.run(["click"], {name: values.numpy() for name, values in batch.items()})[0]
    with torch.no_grad():
        expected = model.predict_step(batch, 0)["click"].numpy()
    assert 0 < np.abs(found - expected).max() < 0.01
    served, small = (serving.load(target, int8=int8).predict(answering.new)["click"] for int8 in (False, True))
    assert 0 < (served - small).abs().max() < 0.01
    with pytest.raises(ValueError, match=r"model.int8.onnx; it was exported without"):
        serving.load(answering.exported, int8=True)


def test_what_has_no_tables_is_refused(toy: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="PMTRec has no tables that int8 is for"):
        build(toy, "PMTRec").save_pretrained(tmp_path / "m", formats=["onnx-int8"])
    model = build(toy)
    next(part for part in model.modules() if isinstance(part, nn.Embedding)).weight.data[3] = torch.nan
    with pytest.raises(ValueError, match="not finite; it diverged"):
        model.save_pretrained(tmp_path / "m", formats=["onnx-int8"])
    assert not (tmp_path / "m").exists()
