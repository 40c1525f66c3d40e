"""Monitors of gates and tables on every model of the zoo: nothing is named by hand, and nothing is left out."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest
import torch
from every_model import MODELS, build, trainer
from torch import nn

import mtlzoo
from mtlzoo.callbacks import EmbeddingMonitor, GateMonitor
from mtlzoo.callbacks.embeddings.tables import rows_of_table, tables_of
from mtlzoo.layers import Gate

MULTI = [(model, {"embedding": "multi"}) for model in ("MMoE", "OMoE", "PLE", "SharedBottom")]
OTHERS = [("PLE", {"shared_gate": "shared_experts"}), ("STEMNet", {"layers": 1}), ("AdaTT", {"shared_experts": 0})]
CASES = [*((model, {}) for model in MODELS if model != "PMTRec"), *MULTI, *OTHERS]


@pytest.mark.parametrize(("model", "options"), CASES)
def test_every_gate_and_every_table_is_watched(
    toy: ModuleType, tmp_path: Path, model: str, options: dict[str, Any]
) -> None:
    module = build(toy, model, **options)
    gates, tables = module.gate_modules, tables_of(module)
    assert {name for name, part in module.named_modules() if isinstance(part, Gate)} <= set(gates)
    assert len({(gate.layer, gate.task) for gate in gates.values()}) == len(gates)
    assert all(len(set(gate.experts)) == len(gate.experts) for gate in gates.values())
    held = sum(len(part.weight) for part in module.modules() if isinstance(part, nn.Embedding))
    assert sum(1 + len(rows_of_table(module, table)) for table in tables.values()) == held
    monitors = [GateMonitor(2), EmbeddingMonitor()]
    trainer(tmp_path, precision="64-true", max_epochs=1, callbacks=monitors).fit(module, toy.InMemory(32))
    assert set(pl.read_csv(tmp_path / "embeddings.csv")["table"]) == set(tables)
    assert (tmp_path / "gates.csv").is_file() == bool(gates)
    if gates:
        table = pl.read_csv(tmp_path / "gates.csv", schema_overrides={"expert": pl.String})
        sums = table.group_by("step", "layer", "task").agg(pl.col("weight").sum(), pl.col("entropy").first())
        assert len(sums) == len(gates) * len(set(table["step"]))
        assert sums["weight"].to_list() == pytest.approx([1.0] * len(sums))
        assert sums["entropy"].is_between(0, 1 + 1e-9).all()
        for gate in gates.values():
            rows = table.filter((pl.col("layer") == gate.layer) & (pl.col("task") == gate.task))
            assert rows["expert"].unique(maintain_order=True).to_list() == list(gate.experts)


def test_which_models_have_gates(toy: ModuleType) -> None:
    gated = {model for model in MODELS if model != "PMTRec" and build(toy, model).gate_modules}
    assert gated == {"AITM", "AdaTT", "MMoE", "OMoE", "PLE", "STEMNet"}


def test_names(toy: ModuleType) -> None:
    ple = build(toy, "PLE", levels=2, task_experts=1, shared_experts=2)
    assert ple.gate_modules["levels.0.gates.1"] == ("level_0", "like", ["like_0", "shared_0", "shared_1"])
    assert ple.gate_modules["levels.0.shared_gate"][2] == ["click_0", "like_0", "stars_0", "shared_0", "shared_1"]
    assert "levels.1.shared_gate" not in ple.gate_modules
    aitm = build(toy, "AITM").gate_modules
    assert aitm["transfer.attention.0"] == ("transfer", "like", ["click", "like"])
    assert list(tables_of(build(toy, "MMoE"))) == ["user", "item", "tags"]
    names = [f"{owner}.{table}" for owner in ("click", "like", "stars", "shared") for table in ("user", "item", "tags")]
    assert list(tables_of(build(toy, "STEMNet"))) == names


def test_the_weight_of_an_expert_is_that_of_its_name(toy: ModuleType, tmp_path: Path) -> None:
    """A gate that gives all to its last output, in the place that its names say."""
    module: Any = build(toy, "PLE", levels=1, task_experts=2, shared_experts=1, gate_bias=True, lr=0.0)
    with torch.no_grad():
        module.levels[0].gates[2].mlp[-1].bias[-1] = 50.0
    trainer(tmp_path, precision="64-true", max_epochs=1, callbacks=[GateMonitor(2)]).fit(module, toy.InMemory(32))
    table = pl.read_csv(tmp_path / "gates.csv").filter(pl.col("task") == "stars")
    assert table.filter(pl.col("expert") == "shared_0")["weight"].min() == pytest.approx(1.0)
    assert table["entropy"].max() == pytest.approx(0.0, abs=1e-9)


def test_users_and_items_of_pmtrec(toy: ModuleType) -> None:
    tasks = (mtlzoo.Task("recommend", "ranking"),)
    schema = mtlzoo.FeatureSchema(toy.SCHEMA.categorical, tasks, user="user", item="item")
    module = mtlzoo.PMTRec(schema, embedding_dim=4)
    assert {name: len(rows_of_table(module, table)) for name, table in tables_of(module).items()} == {
        "user": 49,
        "item": 29,
    }


@pytest.mark.slow
@pytest.mark.parametrize("model", ["MMoE", "STEMNet"])
@pytest.mark.parametrize("rows", [203, 65, 1])
def test_two_processes_see_what_one_sees(
    run: Callable[..., list[dict[str, Any]]], tmp_path: Path, model: str, rows: int
) -> None:
    """Also where one has no row in a batch, and where a training goes on."""
    options = {"model": model, "rows": rows, "monitors": True, "arguments": {"expert_units": [8], "tower_units": []}}
    run(tmp_path / "one", 1, {**options, "batch_size": 32})
    run(tmp_path / "two", 2, {**options, "batch_size": 16})
    stop = {"stop": 8 if rows == 203 else 2}
    run(tmp_path / "resumed", 2, {**options, "batch_size": 16, **stop})
    for name in ("gates", "embeddings"):
        one, two, resumed = (pl.read_csv(tmp_path / f"{each}/{name}.csv") for each in ("one", "two", "resumed"))
        numbers = [column for column, kind in one.schema.items() if kind == pl.Float64]
        for other in (two, resumed):
            assert other.drop(numbers).equals(one.drop(numbers))
            for column in numbers:
                assert other[column].to_list() == pytest.approx(one[column].to_list(), rel=1e-6, abs=1e-9)
