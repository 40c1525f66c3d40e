"""Half precision rounds the network, and nothing that labels, weighs, counts or measures."""

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from chosen_device import ACCELERATOR
from every_model import MODELS, SMALL
from torch import Tensor
from torch.utils.data import DataLoader

import mtlzoo
from mtlzoo.schema import Batch, Categorical, FeatureSchema, Numeric, Sequence
from mtlzoo.tasks import Task

OPTIONS = SMALL | {"ESMM": SMALL["ESMM"] | {"funnel": ["click", "buy"]}}
SCHEMA = FeatureSchema(
    (Categorical("user", 40), Categorical("item", 30), Sequence("tags", 9, 3), Numeric("age")),
    (
        Task("click", weight=1 / 3),
        Task("buy"),
        Task("price", "regression", center=100_000.0),
        Task("shop", "multiclass", classes=300),
        Task("kinds", "multilabel", classes=3),
    ),
    user="user",
    item="item",
)
SHIFTS = {"click": -1.5, "buy": 0.25, "price": 48.0, "shop": 10.0, "kinds": 0.5}
"""Added to the outputs of a network of zeros: numbers that any type holds."""


def columns(rows: int) -> dict[str, Tensor]:
    """Labels and weights that half precision does not hold."""
    g = torch.Generator().manual_seed(0)
    row = torch.arange(rows)
    labels = torch.rand(rows, 7, generator=g).round()
    labels[:, 2] = 100_000 + row % 97
    labels[:, 3] = 256 + row % 3
    labels[torch.rand(labels.shape, generator=g) < 0.1] = torch.nan
    return {
        "categorical": torch.randint(2, 30, (rows, 2), generator=g, dtype=torch.int32),
        "tags": torch.randint(0, 9, (rows, 3), generator=g, dtype=torch.int32),
        "numeric": torch.randn(rows, 1, generator=g),
        "labels": labels,
        "weight": 1 + torch.rand(rows, generator=g) / 300,
        "row": row,
    }


def loader(rows: int, batch_size: int) -> DataLoader[Any]:
    whole = columns(rows)
    batches = [{k: v[at : at + batch_size] for k, v in whole.items()} for at in range(0, rows, batch_size)]
    return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]


def built(model: str, monkeypatch: pytest.MonkeyPatch, schema: FeatureSchema = SCHEMA, **options: Any) -> Any:
    """A model of weights 0, whose outputs are `SHIFTS`: of the class 257 alone, or of all classes."""
    module = getattr(mtlzoo, model)(schema, embedding_dim=4, optimizer="sgd", **OPTIONS.get(model, {}), **options)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    forward = type(module).forward

    def shifted(self: Any, batch: Batch) -> dict[str, Tensor]:
        logits: dict[str, Tensor] = forward(self, batch)
        for name, each in logits.items():
            shift = torch.full_like(each, SHIFTS[name])
            if name == "shop":
                shift[:, torch.arange(300) != 257] = 0.0
            logits[name] = each + shift
        return logits

    monkeypatch.setattr(type(module), "forward", shifted)
    return module


def trainer(folder: Path, precision: Any, **options: Any) -> L.Trainer:
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return L.Trainer(
        default_root_dir=folder,
        accelerator=ACCELERATOR,
        precision=precision,
        enable_model_summary=False,
        log_every_n_steps=1,
        max_epochs=1,
        **{**quiet, **options},
    )


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_metrics_and_losses_are_those_of_single_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    found: dict[str, dict[str, Any]] = {}
    for which in ("32-true", "bf16-true", "16-true"):
        with monkeypatch.context() as patch:
            module = built(model, patch, lr=0.0)
            one = trainer(tmp_path, which)
            one.fit(module, loader(600, 300), loader(70, 40))
            found[which] = dict(one.callback_metrics) | dict(one.test(module, loader(90, 40), verbose=False)[0])
            assert next(module.parameters()).dtype == (torch.float32 if which == "32-true" else module.dtype)
    expected = {name: float(value) for name, value in found.pop("32-true").items()}
    assert expected["test/shop/accuracy"] > 0.2
    for half in found.values():
        got = {name: float(value) for name, value in half.items()}
        assert got == pytest.approx(expected, rel=1e-6, nan_ok=True)


@pytest.mark.parametrize("model", MODELS)
def test_predictions_are_not_rounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    module = built(model, monkeypatch)
    (first,) = trainer(tmp_path, "bf16-true").predict(module, loader(5, 5)) or []
    predictions: Any = first
    assert predictions["price"].tolist() == [100_048.0] * 5
    chance = torch.full((5,), SHIFTS["click"]).sigmoid()
    torch.testing.assert_close(predictions["click"], chance, rtol=1e-6, atol=0)


def test_counts_and_factors_keep_their_digits() -> None:
    module = mtlzoo.MMoE(SCHEMA)
    rows = columns(70_001)
    expected = module.count_observed(rows)
    for halved in (module.half(), module.bfloat16(), module.to(torch.float16)):
        assert next(halved.parameters()).itemsize == 2
        assert halved.task_weights.dtype == torch.float32
        assert halved.task_weights[0] == torch.tensor(1 / 3)
        torch.testing.assert_close(halved.count_observed(rows), expected, rtol=0, atol=0)
        del rows["weight"]
        assert halved.count_observed(rows)[1] == (~rows["labels"][:, 1].isnan()).sum()
        rows["weight"] = columns(70_001)["weight"]
    assert module.double().task_weights.dtype == torch.float64


@pytest.mark.parametrize("model", MODELS)
def test_a_halved_model_takes_batches_as_they_are(model: str) -> None:
    module = getattr(mtlzoo, model)(SCHEMA, embedding_dim=4, **OPTIONS.get(model, {})).bfloat16().eval()
    rows = columns(7)
    for name, each in module({**rows, "numeric": rows["numeric"].bfloat16()}).items():
        assert torch.equal(module(rows)[name], each)
    assert module.task_losses(rows).dtype == torch.float32


def test_a_graph_keeps_its_weights() -> None:
    encoder: Any = mtlzoo.PMTRec(SCHEMA, encoder="lightgcn").bfloat16().encoder
    encoder.connect(torch.full((257,), 2), torch.arange(257) % 28 + 2)  # 257 is 256 in 8 bits
    assert encoder.weights.dtype == torch.float32
    assert encoder.weights[0] == pytest.approx((257 * 10) ** -0.5)
    assert encoder.bfloat16().half().weights[0] == encoder.weights[0]


class Other(L.LightningModule):
    """Somebody else's module, with batches of the same names."""

    def test_step(self, batch: Batch) -> None:
        self.log("digits", float(batch["labels"].itemsize))


@pytest.mark.parametrize("broken", [False, True])
def test_the_trainer_treats_others_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: bool) -> None:
    one = trainer(tmp_path, "bf16-true")
    plain = one.precision_plugin.convert_input
    module = mtlzoo.MMoE(SCHEMA)
    if broken:
        monkeypatch.setattr(mtlzoo.MMoE, "test_step", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            one.test(module, loader(5, 5), verbose=False)
        monkeypatch.undo()
        trainer(tmp_path, "32-true").test(module.float(), loader(5, 5), verbose=False)
    else:
        one.test(module, loader(5, 5), verbose=False)
        assert one.precision_plugin.convert_input == plain
    assert one.test(Other(), loader(5, 5), verbose=False) == [{"digits": 2.0}]
