"""A model that is compiled as a whole, by `torch.compile` or in place, trains as it does by itself."""

from functools import partialmethod
from pathlib import Path
from types import ModuleType
from typing import Any

import lightning as L
import pytest
import torch
from device import ACCELERATOR
from torch import Tensor, nn
from torch._dynamo.utils import counters

import mtlzoo
from mtlzoo.callbacks import GradientSurgery, PCGrad
from mtlzoo.schema import Categorical, FeatureSchema


def trained(toy: ModuleType, folder: Path, model: str, how: str, level: str) -> dict[str, Tensor]:
    torch.manual_seed(0)
    torch.compiler.reset()
    counters.clear()
    options: dict[str, Any] = {"expert_units": [8], "tower_units": [4], "optimizer": "sgd", "lr": 0.5}
    if how == "option":
        options["compile"] = "network"
    module = getattr(mtlzoo, model)(toy.SCHEMA, embedding_dim=4, **options)
    if how == "in place":
        module.compile()
    trainer = L.Trainer(
        default_root_dir=folder,
        accelerator=ACCELERATOR,
        max_epochs=1,
        precision="64-true",
        callbacks=[GradientSurgery(PCGrad(), level=level)] if level else [],  # type: ignore[arg-type]
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    whole: Any = torch.compile(module, backend="aot_eager") if how == "compile" else module
    trainer.fit(whole, toy.InMemory(64))
    graphs = counters["stats"]["unique_graphs"]
    assert 1 <= graphs <= 6 if how else not graphs  # of train and validation, and of another number of rows
    return dict(module.state_dict())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*")  # of torch's own tracing
@pytest.mark.parametrize("how", ["compile", "in place", "option"])
@pytest.mark.parametrize(("model", "level"), [("MMoE", ""), ("PLE", "row")])
def test_trains_as_by_itself(
    toy: ModuleType, tmp_path: Path, model: str, level: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mtlzoo.MultiTaskModule, "compile", partialmethod(nn.Module.compile, backend="aot_eager"))
    compiled = trained(toy, tmp_path, model, how, level)
    for name, weight in trained(toy, tmp_path, model, "", level).items():
        torch.testing.assert_close(compiled[name], weight, rtol=1e-9, atol=1e-12)


def test_what_a_compiler_can_do_nothing_for_is_refused(toy: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"compile='all'; allowed are \['none', 'network'\]"):
        mtlzoo.MMoE(toy.SCHEMA, compile="all")
    pairs = FeatureSchema(
        (Categorical("u", 5), Categorical("i", 5)), (mtlzoo.Task("r", "ranking"),), user="u", item="i"
    )
    with pytest.raises(ValueError, match="PMTRec: compile='network'"):
        mtlzoo.PMTRec(pairs, compile="network")
