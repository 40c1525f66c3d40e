"""The trainers that benchmarks/training.py compares, each on one case beside the bare loop.

`mtlzoo` is the command line itself with its defaults. The peers run their own training loop with their own model of
the same sizes, as far as its constructor permits:

* torch-rechub puts batch normalisation after every Linear and has gates of a single Linear.
* DeepCTR-Torch before 0.3 imports four names of TensorFlow's callbacks, of which it calls hooks at the start and the
  end of epochs; a stub of these stands in for TensorFlow. Its penalty of the embeddings is set to 0, as all other rows
  of the table would make it slower still. No metric is computed while it trains.
* FuxiCTR's package holds no multi-task networks, so they are built of its blocks. It always clips the gradients' norm.
* NextRec computes metrics of the whole epoch after its last step, outside of what is timed. Its gates are one Linear.
"""

import sys
import types
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
import yaml
from cases import RATES, Case, bare_loop
from interleave import Pairs, beside
from torch import nn
from torch.utils.data import DataLoader

from mtlzoo.cli import main as mtlzoo_command
from mtlzoo.datamodules import TabularDataModule
from mtlzoo.datamodules.loading import BatchLoader

EMBEDDING = 16
Ids = dict[str, npt.NDArray[Any]]
Fit = Callable[[Case, Ids, npt.NDArray[Any], dict[str, int], str], None]


class Compiled(L.Callback):
    """Lets torch compile the network of the module that is trained."""

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """In place."""
        pl_module.compile()


def ours(case: Case, folder: Path, device: str = "cpu", *, compiled: bool = False, **trainer: Any) -> Pairs:
    """`mtlzoo fit`, with more options of the Trainer."""
    arguments = case.data(folder)
    data = TabularDataModule(**arguments).data
    bare = bare_loop(case, data.schema, data["train"], device=device, compiled=compiled)
    callbacks = {"callbacks": [{"class_path": "trainers.Compiled"}]} if compiled else {}
    config = {
        "model": {"class_path": case.model, "init_args": dict(case.options)},
        "data": {"class_path": "TabularDataModule", "init_args": arguments},
        "trainer": {"max_epochs": 1, "accelerator": device, **callbacks, **trainer},
    }
    with TemporaryDirectory() as runs:
        path = Path(runs, "fit.yaml")
        path.write_text(yaml.safe_dump(config))
        with beside(BatchLoader, bare, case.chunk) as pairs:
            mtlzoo_command(["fit", "-c", str(path), "--trainer.default_root_dir", runs])
    return pairs


def peer(case: Case, folder: Path, fit: Fit, device: str = "cpu") -> Pairs:
    """The training loop of another library on the same rows."""
    data = TabularDataModule(**case.data(folder)).data
    columns = data["train"]
    bare = bare_loop(case, data.schema, columns, batches=10, device=device)
    rows = case.batch * case.peer_chunk * case.peer_chunks
    ids, labels = columns["categorical"][:rows].numpy(), columns["labels"][:rows].numpy()
    cardinality = {f.name: f.cardinality for f in data.schema.categorical}
    fields = {name: ids[:, i].copy() for i, name in enumerate(cardinality)}
    with beside(DataLoader, bare, case.peer_chunk) as pairs:
        fit(case, fields, labels, cardinality, device)
    return pairs


def torch_rechub(case: Case, ids: Ids, labels: npt.NDArray[Any], cardinality: dict[str, int], device: str) -> None:
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
    loader, _, _ = DataGenerator(ids, labels).generate_dataloader(**held_out, batch_size=case.batch)
    MTLTrainer(model, kinds, optimizer_params={"lr": 1e-3}, device=device).train_one_epoch(loader)


def deepctr_torch(case: Case, ids: Ids, labels: npt.NDArray[Any], cardinality: dict[str, int], device: str) -> None:
    """`BaseModel.fit`."""
    import deepctr_torch

    if deepctr_torch.__version__ < "0.3":
        _stub_tensorflow()
    from deepctr_torch.inputs import SparseFeat
    from deepctr_torch.models import MMOE, SharedBottom

    columns = [SparseFeat(name, n, embedding_dim=EMBEDDING) for name, n in cardinality.items()]
    tasks = {"task_types": ["binary"] * len(RATES), "task_names": list(RATES), "l2_reg_embedding": 0, "device": device}
    towers = {"tower_dnn_hidden_units": case.options["tower_units"]}
    if case.model == "MMoE":
        sizes = {"expert_dnn_hidden_units": case.options["expert_units"], "num_experts": case.options["experts"]}
        model = MMOE(columns, **sizes, gate_dnn_hidden_units=case.options["gate_units"], **towers, **tasks)
    else:
        model = SharedBottom(columns, bottom_dnn_hidden_units=case.options["bottom_units"], **towers, **tasks)
    model.compile("adam", "binary_crossentropy", metrics=[])
    model.fit(ids, labels, batch_size=case.batch, epochs=1, verbose=2)


def fuxictr(case: Case, ids: Ids, labels: npt.NDArray[Any], cardinality: dict[str, int], device: str) -> None:
    """`MultiTaskModel.train_epoch` on `NpzDataLoader`; its networks are not in the package, their blocks are."""
    from fuxictr.features import FeatureMap
    from fuxictr.pytorch.dataloaders.npz_dataloader import NpzDataLoader
    from fuxictr.pytorch.layers import FeatureEmbedding, MLP_Block
    from fuxictr.pytorch.models import MultiTaskModel

    experts = case.options.get("experts", 1)
    units = list(case.options.get("expert_units") or case.options["bottom_units"])
    towers = list(case.options["tower_units"])

    class Network(MultiTaskModel):  # type: ignore[misc]
        """MMoE; with one expert SharedBottom."""

        def __init__(self, features: Any, width: int, folder: str) -> None:
            gpu = -1 if device == "cpu" else 0
            kinds = ["binary_classification"] * len(RATES)
            options = {"num_tasks": len(RATES), "gpu": gpu, "verbose": 0, "model_root": folder, "metrics": []}
            super().__init__(features, task=kinds, **options)
            self.embedding = FeatureEmbedding(features, EMBEDDING)
            self.experts = nn.ModuleList(MLP_Block(width, hidden_units=units) for _ in range(experts))
            self.gates = nn.ModuleList(
                MLP_Block(width, hidden_units=list(case.options.get("gate_units", [])), output_dim=experts)
                for _ in RATES
            )
            self.towers = nn.ModuleList(MLP_Block(units[-1], hidden_units=towers, output_dim=1) for _ in RATES)
            self.compile("adam", "binary_crossentropy", 1e-3)
            self.reset_parameters()
            self.model_to_device()

        def forward(self, inputs: Any) -> Any:
            x = self.embedding(self.get_inputs(inputs), flatten_emb=True)
            h = torch.stack([expert(x) for expert in self.experts], 1)
            if experts > 1:
                mixed = [(gate(x).softmax(1).unsqueeze(2) * h).sum(1) for gate in self.gates]
            else:
                mixed = [h.squeeze(1)] * len(RATES)
            parts = zip(RATES, self.output_activation, self.towers, mixed, strict=True)
            return {f"{name}_pred": activation(tower(m)) for name, activation, tower, m in parts}

    features = FeatureMap("benchmark", "")
    features.features.update(
        {n: {"type": "categorical", "source": "", "vocab_size": v} for n, v in cardinality.items()}
    )
    features.labels, features.default_emb_dim = list(RATES), EMBEDDING
    features.num_fields = features.get_num_fields()
    features.set_column_index()
    with TemporaryDirectory() as folder:
        path = Path(folder, "rows.npz")
        rows: dict[str, Any] = {**ids, **{name: labels[:, i] for i, name in enumerate(RATES)}}
        np.savez(path, **rows)
        loader = NpzDataLoader(features, str(path), batch_size=case.batch, shuffle=True, num_workers=0)
        model = Network(features, EMBEDDING * len(cardinality), folder)
        model._total_steps, model._eval_steps, model._max_gradient_norm, model._stop_training = 0, 10**9, 10.0, False
        model.train_epoch(loader)


def nextrec(case: Case, ids: Ids, labels: npt.NDArray[Any], cardinality: dict[str, int], device: str) -> None:
    """`BaseModel.fit`; it keeps its files under the working folder."""
    from nextrec.basic.features import SparseFeature
    from nextrec.models.multitask.mmoe import MMOE
    from nextrec.models.multitask.share_bottom import ShareBottom

    sparse = [SparseFeature(name, vocab_size=n, embedding_dim=EMBEDDING) for name, n in cardinality.items()]
    kinds = {"target": list(RATES), "task": ["binary"] * len(RATES), "device": device}
    towers = [{"hidden_dims": list(case.options["tower_units"])} for _ in RATES]
    with TemporaryDirectory() as folder, chdir(folder):
        if case.model == "MMoE":
            experts = {"hidden_dims": list(case.options["expert_units"])}
            number = case.options["experts"]
            model = MMOE([], sparse, [], experts, number, tower_mlp_params_list=towers, **kinds)
        else:
            bottom = {"hidden_dims": list(case.options["bottom_units"])}
            model = ShareBottom([], sparse, [], bottom_mlp_params=bottom, tower_mlp_params_list=towers, **kinds)
        model.compile(optimizer="adam", optimizer_params={"lr": 1e-3}, loss=["bce"] * len(RATES))
        rows = {**ids, **{name: labels[:, i] for i, name in enumerate(RATES)}}
        model.fit(rows, epochs=1, batch_size=case.batch, metrics=["auc"], use_tensorboard=False)


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


PEERS: dict[str, Fit] = {
    "torch-rechub": torch_rechub,
    "DeepCTR-Torch": deepctr_torch,
    "FuxiCTR": fuxictr,
    "NextRec": nextrec,
}
TRAINERS: dict[str, Callable[[Case, Path], Pairs]] = {
    "mtlzoo": ours,
    **{name: lambda case, folder, fit=fit: peer(case, folder, fit) for name, fit in PEERS.items()},  # type: ignore[misc]
}
"""Runs one on a case; the folder holds the data."""
