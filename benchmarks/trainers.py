"""The trainers that benchmarks/training.py compares, each on one case beside the bare loop.

`mtlzoo` is the command line itself with its defaults. The peers run their own training loop with their own model of
the same sizes, as far as its constructor permits:

* torch-rechub puts batch normalisation after every Linear and has gates of a single Linear.
* DeepCTR-Torch imports four names of TensorFlow's callbacks, of which it calls hooks at the start and the end of
  epochs; a stub of these stands in for TensorFlow. Its penalty of the embeddings is set to 0, as all other rows of
  the table would make it slower still. No metric is computed while it trains.
"""

import sys
import types
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy.typing as npt
import yaml
from cases import BATCH, RATES, Case, bare_loop
from interleave import Pairs, beside
from torch.utils.data import DataLoader

from mtlzoo.cli import main as mtlzoo_command
from mtlzoo.datamodules import TabularDataModule
from mtlzoo.datamodules.loading import BatchLoader

EMBEDDING = 16
Ids = dict[str, npt.NDArray[Any]]


def ours(case: Case, folder: Path) -> Pairs:
    """`mtlzoo fit`."""
    arguments = case.data(folder)
    data = TabularDataModule(**arguments).data
    bare = bare_loop(case, data.schema, data["train"])
    config = {
        "model": {"class_path": case.model, "init_args": dict(case.options)},
        "data": {"class_path": "TabularDataModule", "init_args": arguments},
        "trainer": {"max_epochs": 1, "accelerator": "cpu"},
    }
    with TemporaryDirectory() as runs:
        path = Path(runs, "fit.yaml")
        path.write_text(yaml.safe_dump(config))
        with beside(BatchLoader, bare, case.chunk) as pairs:
            mtlzoo_command(["fit", "-c", str(path), "--trainer.default_root_dir", runs])
    return pairs


def peer(case: Case, folder: Path, fit: Callable[[Case, Ids, npt.NDArray[Any], dict[str, int]], None]) -> Pairs:
    """The training loop of another library on the same rows."""
    data = TabularDataModule(**case.data(folder)).data
    columns = data["train"]
    bare = bare_loop(case, data.schema, columns, batches=10)
    rows = BATCH * case.peer_chunk * case.peer_chunks
    ids, labels = columns["categorical"][:rows].numpy(), columns["labels"][:rows].numpy()
    cardinality = {f.name: f.cardinality for f in data.schema.categorical}
    fields = {name: ids[:, i].copy() for i, name in enumerate(cardinality)}
    with beside(DataLoader, bare, case.peer_chunk) as pairs:
        fit(case, fields, labels, cardinality)
    return pairs


def torch_rechub(case: Case, ids: Ids, labels: npt.NDArray[Any], cardinality: dict[str, int]) -> None:
    """`MTLTrainer.train_one_epoch` on the loader of `DataGenerator`."""
    from torch_rechub.basic.features import SparseFeature
    from torch_rechub.models.multi_task import MMOE, SharedBottom
    from torch_rechub.trainers import MTLTrainer
    from torch_rechub.utils.data import DataGenerator

    features = [SparseFeature(name, vocab_size=n, embed_dim=EMBEDDING) for name, n in cardinality.items()]
    kinds = ["classification"] * len(RATES)
    towers = [{"dims": case.options["tower_units"]} for _ in RATES]
    if case.model == "MMoE":
        experts = {"dims": case.options["expert_units"]}
        model = MMOE(features, kinds, case.options["experts"], experts, towers)
    else:
        model = SharedBottom(features, kinds, {"dims": case.options["bottom_units"]}, towers)
    held_out = {"x_val": ids, "y_val": labels, "x_test": ids, "y_test": labels}
    loader, _, _ = DataGenerator(ids, labels).generate_dataloader(**held_out, batch_size=BATCH)
    MTLTrainer(model, kinds, optimizer_params={"lr": 1e-3}).train_one_epoch(loader)


def deepctr_torch(case: Case, ids: Ids, labels: npt.NDArray[Any], cardinality: dict[str, int]) -> None:
    """`BaseModel.fit`."""
    _stub_tensorflow()
    from deepctr_torch.inputs import SparseFeat
    from deepctr_torch.models import MMOE, SharedBottom

    columns = [SparseFeat(name, n, embedding_dim=EMBEDDING) for name, n in cardinality.items()]
    tasks = {"task_types": ["binary"] * len(RATES), "task_names": list(RATES), "l2_reg_embedding": 0}
    towers = {"tower_dnn_hidden_units": case.options["tower_units"]}
    if case.model == "MMoE":
        sizes = {"expert_dnn_hidden_units": case.options["expert_units"], "num_experts": case.options["experts"]}
        model = MMOE(columns, **sizes, gate_dnn_hidden_units=case.options["gate_units"], **towers, **tasks)
    else:
        model = SharedBottom(columns, bottom_dnn_hidden_units=case.options["bottom_units"], **towers, **tasks)
    model.compile("adam", "binary_crossentropy", metrics=[])
    model.fit(ids, labels, batch_size=BATCH, epochs=1, verbose=2)


def _stub_tensorflow() -> None:
    class Nothing:
        def __init__(self, *_: Any) -> None: ...

        def set_model(self, model: Any) -> None:
            self.model = model

        def __getattr__(self, name: str) -> Callable[..., None]:
            if not name.startswith("on_"):
                raise AttributeError(name)
            return lambda *_: None

    for name in ("tensorflow", "tensorflow.python", "tensorflow.python.keras", "tensorflow.python.keras.callbacks"):
        sys.modules[name] = types.ModuleType(name)
    for name in ("CallbackList", "EarlyStopping", "ModelCheckpoint", "History"):
        setattr(sys.modules["tensorflow.python.keras.callbacks"], name, Nothing)


TRAINERS: dict[str, Callable[[Case, Path], Pairs]] = {
    "mtlzoo": ours,
    "torch-rechub": lambda case, folder: peer(case, folder, torch_rechub),
    "DeepCTR-Torch": lambda case, folder: peer(case, folder, deepctr_torch),
}
"""Runs one on a case; the folder holds the data."""
