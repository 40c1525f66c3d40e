"""Files of every model answer as it does, at every size of batch, with every kind of feature and task."""

import shutil
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import onnxruntime
import pytest
import torch
from every_model import MODELS, SMALL
from torch import Tensor

import mtlzoo
from mtlzoo import FeatureSchema, MultiTaskModule, PMTRec, Task
from mtlzoo.export import network, onnx_file
from mtlzoo.export.network import example
from mtlzoo.schema import Batch, Categorical, Numeric, Sequence

SCHEMA = FeatureSchema(
    (
        Categorical("user", 50),
        Categorical("item", 30),
        Sequence("tags", 9, 3),
        Sequence("past", 30, 4, table="item", pooling="attention", target="item"),
        Sequence("a/b.用户", 12, 4, pooling="max"),
        Sequence("items", 12, 1, pooling="sum"),
        Numeric("age"),
        Numeric("price"),
    ),
    (
        Task("click"),
        Task("like", weight=2.0),
        Task("stars", "regression", center=3.0, scale=2.0),
        Task("numeric", "multiclass", classes=3),
        Task("genres", "multilabel", classes=4),
    ),
    user="user",
    item="item",
)
NUMBER = FeatureSchema((Numeric("x"),), (Task("click"),))


def build(name: str, schema: FeatureSchema = SCHEMA) -> Any:
    torch.manual_seed(0)
    model = getattr(mtlzoo, name)(schema, embedding_dim=4, **SMALL.get(name, {})).eval()
    for weight in model.parameters():
        weight.data.normal_(std=0.3)  # tables begin so small that all predictions are the same
    return model


def predicted(model: MultiTaskModule, rows: int) -> dict[str, np.ndarray]:
    with torch.no_grad():
        return {name: values.numpy() for name, values in model.predict_step(example(model.schema, rows), 0).items()}


def of_onnx(folder: Path, schema: FeatureSchema, rows: int) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    batch = {name: values.numpy() for name, values in example(schema, rows).items()}
    assert sorted(each.name for each in session.get_inputs()) == sorted(batch)
    return dict(zip((each.name for each in session.get_outputs()), session.run(None, batch), strict=True))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.slow
def test_every_model_in_every_format(tmp_path: Path, name: str) -> None:
    model = build(name)
    model.save_pretrained(tmp_path / "m", formats=["pt2", "onnx"])
    module = torch.export.load(tmp_path / "m/model.pt2").module()
    for rows in (1, 2, 7, 4096):
        expected = predicted(model, rows)
        assert list(expected) == ["click", "like", "stars", "numeric", "genres"]
        assert sum(len(np.unique(values)) for values in expected.values()) > min(rows, 100)
        found = module(example(SCHEMA, rows))
        other = of_onnx(tmp_path / "m", SCHEMA, rows)
        other["numeric"] = other.pop("numeric_")  # the name of an input
        for task, values in expected.items():
            for each in (found[task].detach().numpy(), other[task]):
                assert each.dtype == values.dtype
                np.testing.assert_allclose(each, values, rtol=1e-6, atol=1e-6)
    assert mtlzoo.load(tmp_path / "m").schema == SCHEMA


@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler")
@pytest.mark.slow
def test_a_model_as_machine_code(tmp_path: Path) -> None:
    """One with gates and all kinds of features and tasks; an export compares every model that somebody compiles."""
    model = build("PEPNet")
    quick = {"cpp.vec_isa_ok": False, "aot_inductor.precompile_headers": False}  # a third less for g++ to do
    with torch._inductor.config.patch(quick):
        model.save_pretrained(tmp_path / "m", formats=["aoti"])
    compiled = torch._inductor.aoti_load_package(str(tmp_path / "m/model.aoti.pt2"))
    for rows in (1, 2, 7, 4096):
        found = compiled(example(SCHEMA, rows))
        for task, values in predicted(model, rows).items():
            assert found[task].dtype == torch.from_numpy(values).dtype
            np.testing.assert_allclose(found[task].numpy(), values, rtol=1e-6, atol=1e-6)
    assert mtlzoo.load(tmp_path / "m").schema == SCHEMA


def test_without_a_compiler_there_is_no_machine_code(tmp_path: Path) -> None:
    nowhere = {"cpp.cxx": (None, str(tmp_path / "g++"))}
    with (
        torch._inductor.config.patch(nowhere),
        pytest.raises(
            ValueError, match=r"No working C\+\+ compiler found in .*Get one \(Debian: apt-get install g\+\+\)"
        ),
    ):
        build("SharedBottom", NUMBER).save_pretrained(tmp_path / "m", formats=["aoti"])
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    "features", [(Categorical("user", 9), Categorical("item", 5)), (Numeric("x"),), (Sequence("s", 9, 2),)]
)
@pytest.mark.slow
def test_one_kind_of_feature_alone(tmp_path: Path, features: Any) -> None:
    schema = FeatureSchema(features, (Task("click"),))
    model = build("SharedBottom", schema)
    model.save_pretrained(tmp_path / "m", formats=["onnx"])
    np.testing.assert_allclose(of_onnx(tmp_path / "m", schema, 7)["click"], predicted(model, 7)["click"], atol=1e-6)


@pytest.mark.parametrize("encoder", ["mf", "lightgcn", "ngcf"])
@pytest.mark.slow
def test_a_ranking_scores_pairs(tmp_path: Path, encoder: Any) -> None:
    schema = FeatureSchema(
        (Categorical("user", 9), Categorical("item", 7)), (Task("recommend", "ranking"),), user="user", item="item"
    )
    model = PMTRec(schema, embedding_dim=4, encoder=encoder).eval()
    if encoder != "mf":
        model.encoder.connect(torch.tensor([2, 3, 4]), torch.tensor([2, 3, 2]))  # type: ignore[operator]
    model.save_pretrained(tmp_path / "m", formats=["pt2", "onnx"])
    np.testing.assert_allclose(
        of_onnx(tmp_path / "m", schema, 7)["recommend"], predicted(model, 7)["recommend"], atol=1e-6
    )


@pytest.mark.slow
def test_large_weights_lie_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "LARGEST", 100)
    model = build("SharedBottom")
    written = Mock(wraps=onnx_file.write_onnx)
    monkeypatch.setattr("mtlzoo.export.formats.write_onnx", written)
    model.save_pretrained(tmp_path / "m", formats=["triton", "onnx", "triton"])
    written.assert_called_once()  # Triton's is a copy
    for name in ("model.onnx", "model.onnx.data"):
        copy = tmp_path / "m/triton/SharedBottom/1" / name
        assert copy.read_bytes() == (tmp_path / "m" / name).read_bytes()
    moved = (tmp_path / "m").rename(tmp_path / "elsewhere")
    np.testing.assert_allclose(of_onnx(moved, SCHEMA, 7)["click"], predicted(model, 7)["click"], atol=1e-6)


class Counts(MultiTaskModule):
    """Takes another way for every number of rows."""

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return {"click": batch["numeric"].sum(1) * len(batch["numeric"].tolist())}


def test_what_has_no_such_form_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"Counts can't be exported: "):
        Counts(NUMBER).save_pretrained(tmp_path / "m", formats=["pt2"])
    with pytest.raises(
        ValueError, match=r"formats \['h5'\]: allowed are \['aoti', 'onnx', 'onnx-int8', 'pt2', 'triton', 'vectors'\]"
    ):
        Counts(NUMBER).save_pretrained(tmp_path / "m", formats=["h5"])
    monkeypatch.setattr(network, "TOLERANCE", -1.0)
    with pytest.raises(
        ValueError, match=r"model\.pt2: task 'click' differs from the model by 0\.0e\+00 in a batch of 1;"
    ):
        build("SharedBottom", NUMBER).save_pretrained(tmp_path / "m", formats=["pt2"])
    assert not [*tmp_path.iterdir()]
