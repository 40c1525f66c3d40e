"""A model that is compiled as a whole, by `torch.compile` or in place, trains as it does by itself."""

import shutil
from functools import partialmethod
from pathlib import Path
from types import ModuleType
from typing import Any

import lightning as L
import pytest
import torch
from chosen_device import ACCELERATOR
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch._functorch import config as functorch_config
from torch._inductor import config as inductor
from torch.compiler import config as compiler_config

import mtlzoo
from mtlzoo.callbacks import GradientSurgery, PCGrad
from mtlzoo.schema import Categorical, FeatureSchema

SIZES: dict[str, dict[str, Any]] = {"MMoE": {"experts": 2}, "PLE": {"task_experts": 1, "shared_experts": 1}}


def trained(toy: ModuleType, folder: Path, model: str, how: str, level: str) -> dict[str, Tensor]:
    torch.manual_seed(0)
    torch.compiler.reset()
    counters.clear()
    options: dict[str, Any] = {"expert_units": [8], "tower_units": [4], "optimizer": "sgd", "lr": 0.5}
    if how == "option":
        options["compile"] = "network"
    module = getattr(mtlzoo, model)(toy.SCHEMA, embedding_dim=4, **SIZES[model], **options)
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
@pytest.mark.parametrize(
    ("model", "level", "how"),
    [("MMoE", "", "in place"), ("MMoE", "", "option"), ("PLE", "row", "compile"), ("PLE", "row", "option")],
)
def test_trains_as_by_itself(
    toy: ModuleType, tmp_path: Path, model: str, level: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mtlzoo.MultiTaskModule, "compile", partialmethod(nn.Module.compile, backend="aot_eager"))
    compiled = trained(toy, tmp_path, model, how, level)
    for name, weight in trained(toy, tmp_path, model, "", level).items():
        torch.testing.assert_close(compiled[name], weight, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs one of C++")
@pytest.mark.parametrize("same", [True, False], ids=["the same module", "kernels on disk"])
def test_what_was_compiled_without_surgery_is_not_taken(
    toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same: bool
) -> None:
    """Its backward pass runs once; of a second task it would make zeros."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "kernels"))
    torch.compiler.reset()

    def made(compile: str) -> mtlzoo.SharedBottom:
        torch.manual_seed(0)
        units: Any = {"bottom_units": [8], "tower_units": [4]}
        return mtlzoo.SharedBottom(toy.SCHEMA, embedding_dim=4, optimizer="sgd", lr=0.1, compile=compile, **units)

    def fitted(module: mtlzoo.SharedBottom, *callbacks: L.Callback) -> dict[str, Tensor]:
        options: dict[str, Any] = dict.fromkeys(
            ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
        )
        trainer = L.Trainer(max_steps=2, accelerator="cpu", callbacks=[*callbacks], limit_val_batches=0, **options)
        trainer.fit(module, toy.InMemory(64))
        return dict(module.state_dict())

    # As in a process without surgery so far; no code for vectors, which g++ takes the most time for.
    with (
        functorch_config.patch(donated_buffer=True),
        compiler_config.patch(cache_key_tag=""),  # type: ignore[attr-defined]
        inductor.patch({"cpp.vec_isa_ok": False}),
    ):
        module = made("network")
        start = {name: value.clone() for name, value in module.state_dict().items()}
        fitted(module)
        if same:
            module.load_state_dict(start)
        else:
            torch.compiler.reset()
            module = made("network")
        compiled = fitted(module, GradientSurgery(PCGrad()))
        for name, weight in fitted(made("none"), GradientSurgery(PCGrad())).items():
            torch.testing.assert_close(compiled[name], weight, rtol=1e-4, atol=1e-5)


def test_what_a_compiler_can_do_nothing_for_is_refused(toy: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"compile='all'; allowed are \['none', 'network'\]"):
        mtlzoo.MMoE(toy.SCHEMA, compile="all")
    pairs = FeatureSchema(
        (Categorical("u", 5), Categorical("i", 5)), (mtlzoo.Task("r", "ranking"),), user="u", item="i"
    )
    with pytest.raises(ValueError, match="PMTRec: compile='network'"):
        mtlzoo.PMTRec(pairs, compile="network")
