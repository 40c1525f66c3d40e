"""The model repository is what Triton's own schema knows, and says of the network what it takes and gives."""

import importlib.util
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from google.protobuf import text_format

import mtlzoo
from mtlzoo.cli import main
from mtlzoo.export.triton import config

TYPES = {"TYPE_FP32": np.float32, "TYPE_FP64": np.float64, "TYPE_INT32": np.int32}


def parsed(text: str) -> Any:
    """Text as Triton's ``ModelConfig``, of its client's `model_config_pb2`; the package around that needs gRPC."""
    path = Path(str(files("tritonclient"))) / "grpc/model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return text_format.Parse(text, module.ModelConfig())  # refuses fields and values that there are not


def dims_of(tensor: Any, rows: int) -> tuple[int, ...]:
    """Shape in the network of a batch: Triton puts the rows before the dims, or before what they are reshaped to."""
    return (rows, *(tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims))


def test_the_repository_says_what_the_network_takes_and_gives(answering: SimpleNamespace, tmp_path: Path) -> None:
    source, target = str(answering.checkpoint), str(tmp_path / "exported")
    main(["export", "--ckpt_path", source, "--out", target, "--formats", "triton"])
    (folder,) = (tmp_path / "exported/triton").iterdir()
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*")) == [
        "1/model.onnx",
        "config.pbtxt",
    ]
    found = parsed((folder / "config.pbtxt").read_text(encoding="utf-8"))
    assert (found.name, found.backend, found.max_batch_size) == (folder.name, "onnxruntime", 4096)
    assert found.name == "MMoE"
    assert found.HasField("dynamic_batching")
    assert not found.default_model_filename  # model.onnx, then
    session = onnxruntime.InferenceSession(folder / "1/model.onnx", providers=["CPUExecutionProvider"])
    names = found.input[0].DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number
    assert [each.name for each in found.input] == ["categorical", "numeric", "tags", "past"]
    assert [each.name for each in found.output] == ["click", "stars", "kind", "genres"]
    for rows in (1, 5):
        batch = {each.name: np.zeros(dims_of(each, rows), TYPES[names[each.data_type].name]) for each in found.input}
        for each, values in zip(found.output, session.run([each.name for each in found.output], batch), strict=True):
            assert len(each.dims) > 0  # what Triton gives has a dim beside the rows
            assert values.shape == dims_of(each, rows)
            assert values.dtype == TYPES[names[each.data_type].name]
    assert mtlzoo.load(target).schema == mtlzoo.load(answering.exported).schema


def test_any_name_is_a_text_of_protobuf() -> None:
    names = ["a/b.用户", "quotes \"'", "back\\slash", "line\nend", "\x01"]
    tensors = [SimpleNamespace(name=name, type="tensor(float)", shape=["rows", 3, "other"]) for name in names]
    session = SimpleNamespace(get_inputs=lambda: tensors, get_outputs=lambda: tensors[:1])
    found = parsed(config("X", session))
    assert [each.name for each in found.input] == names
    assert [*found.input[0].dims] == [3, -1]


def test_it_needs_what_onnx_needs(monkeypatch: pytest.MonkeyPatch, answering: SimpleNamespace, tmp_path: Path) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr("mtlzoo.export.formats.import_module", missing)
    with pytest.raises(ValueError, match=r"no onnx, which ONNX needs\. Get it: pip install 'mtlzoo\[export\]'"):
        mtlzoo.load(answering.exported).save_pretrained(tmp_path / "m", formats=["triton"])
