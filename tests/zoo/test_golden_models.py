"""Models against numbers of the reference implementations: forward, gradients of every task, three steps of Adam."""

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import mtlzoo
from mtlzoo import FeatureSchema, MultiTaskModule, Task
from mtlzoo.schema import Categorical, Feature, Numeric

pytestmark = pytest.mark.every_case

TOLERANCE: dict[str, Any] = {"rtol": 0.0, "atol": 1e-10}

# Reference parameter name -> ours. Hidden layer j is Linear number 2j of an MLP, in both.
MLP = r"\.mlp\.(\d+)\.(weight|bias)"
TOWERS = (r"tower\.(\d+)" + MLP, r"towers.\1.\2.\3")
STEM_REPOSITORY = {
    "sharedbottom": [(r"bottom" + MLP, r"bottom.\1.\2"), TOWERS],
    "omoe": [
        (r"omoe_layer\.experts\.(\d+)" + MLP, r"experts.\1.\2.\3"),
        (r"omoe_layer\.gate" + MLP, r"gate.mlp.\1.\2"),
        TOWERS,
    ],
    "mmoe": [
        (r"mmoe_layer\.experts\.(\d+)" + MLP, r"experts.\1.\2.\3"),
        (r"mmoe_layer\.gate\.(\d+)" + MLP, r"gates.\1.mlp.\2.\3"),
        TOWERS,
    ],
    "ple": [
        (r"cgc_layers\.(\d+)\.specific_experts\.(\d+)\.(\d+)" + MLP, r"levels.\1.task_experts.\2.\3.\4.\5"),
        (r"cgc_layers\.(\d+)\.shared_experts\.(\d+)" + MLP, r"levels.\1.shared_experts.\2.\3.\4"),
        (r"cgc_layers\.(\d+)\.gate\.SHARED" + MLP, r"levels.\1.shared_gate.mlp.\2.\3"),
        (r"cgc_layers\.(\d+)\.gate\.(\d+)" + MLP, r"levels.\1.gates.\2.mlp.\3.\4"),
        TOWERS,
    ],
    "stem": [
        (r"stem_layers\.(\d+)\.specific_experts\.(\d+)\.(\d+)" + MLP, r"layers.\1.task_experts.\2.\3.\4.\5"),
        (r"stem_layers\.(\d+)\.shared_experts\.(\d+)" + MLP, r"layers.\1.shared_experts.\2.\3.\4"),
        (r"stem_layers\.(\d+)\.gate\.SHARED" + MLP, r"layers.\1.shared_gate.mlp.\2.\3"),
        (r"stem_layers\.(\d+)\.gate\.(\d+)" + MLP, r"layers.\1.gates.\2.mlp.\3.\4"),
        TOWERS,
    ],
    "aitm": [
        (r"bottom\.(\d+)" + MLP, r"bottoms.\1.\2.\3"),
        (r"g\.(\d+)\.(weight|bias)", r"transfer.carry.\1.0.\2"),
        (r"h1\.(weight|bias)", r"transfer.value.0.\1"),
        (r"h2\.(weight|bias)", r"transfer.key.0.\1"),
        (r"h3\.(weight|bias)", r"transfer.query.0.\1"),
        TOWERS,
    ],
    # Its first tower is that of the second factor.
    "esmm": [(r"tower\.0" + MLP, r"towers.1.\1.\2"), (r"tower\.1" + MLP, r"towers.0.\1.\2")],
}
DEEPCTR = [
    (r"specific_experts\.(\d+)\.(\d+)\.(\d+)\.linears\.(\d+)\.(\w+)", r"levels.\1.task_experts.\2.\3.2*\4.\5"),
    (r"shared_experts\.(\d+)\.0\.(\d+)\.linears\.(\d+)\.(\w+)", r"levels.\1.shared_experts.\2.2*\3.\4"),
    (r"specific_gate_dnn\.(\d+)\.(\d+)\.0\.linears\.(\d+)\.(\w+)", r"levels.\1.gates.\2.mlp.2*\3.\4"),
    (r"specific_gate_dnn_final_layer\.(\d+)\.(\d+)\.(\w+)", r"levels.\1.gates.\2.mlp.LAST_GATE.\3"),
    (r"shared_gate_dnn\.(\d+)\.linears\.(\d+)\.(\w+)", r"levels.\1.shared_gate.mlp.2*\2.\3"),
    (r"shared_gate_dnn_final_layer\.(\d+)\.(\w+)", r"levels.\1.shared_gate.mlp.LAST_GATE.\2"),
    (r"tower_dnn\.(\d+)\.linears\.(\d+)\.(\w+)", r"towers.\1.2*\2.\3"),
    (r"tower_dnn_final_layer\.(\d+)\.(\w+)", r"towers.\1.LAST_TOWER.\2"),
    (r"out\.(\d+)\.bias", r"towers.\1.LAST_TOWER.bias"),
]


class Golden:
    """One golden file, its model of ours with the file's weights, and the way between their tensors."""

    def __init__(self, path: Path) -> None:
        self.file: dict[str, Any] = json.loads(path.read_text())
        self.config = self.file["config"]
        self.kind = path.stem.split("_")[0]
        self.paper = path.stem.startswith("ple_paper")
        if not self.paper and self.kind not in STEM_REPOSITORY:
            pytest.skip(f"no model of ours for {path.stem} yet")
        self.model = self._build().double()
        self.parameters = dict(self.model.named_parameters())
        with torch.no_grad():
            for entry in self.file["parameters"]:
                for view, values in self.parts(entry["name"], entry["values"], lambda tensor: tensor):
                    assert view is not None
                    assert values is not None
                    view.copy_(values)

    def _build(self) -> MultiTaskModule:
        c = self.config
        features: list[Feature] = [
            Categorical(f["name"], f["vocab_size"]) if f["type"] == "categorical" else Numeric(f["name"])
            for f in c["fields"]
        ]
        schema = FeatureSchema(tuple(features), tuple(Task(name) for name in c["tasks"]))
        common: dict[str, Any] = {
            "embedding_dim": c["embedding_dim"],
            "tower_units": c["tower_hidden_units"],
            "lr": 0.01,
            "clip_norm": 10.0,
        }
        if self.kind == "sharedbottom":
            return mtlzoo.SharedBottom(schema, bottom_units=c["bottom_hidden_units"], **common)
        if self.kind == "aitm":
            return mtlzoo.AITM(schema, bottom_units=c["bottom_hidden_units"], **common)
        if self.kind == "esmm":
            return mtlzoo.ESMM(schema, require_funnel=False, **common)  # its labels are random
        common |= {
            "expert_units": c["expert_hidden_units"],
            "gate_units": c["gate_hidden_units"],
            "gate_bias": not self.paper,
        }
        if self.kind in ("omoe", "mmoe"):
            kind = {"omoe": mtlzoo.OMoE, "mmoe": mtlzoo.MMoE}[self.kind]
            return kind(schema, experts=c["num_experts"], **common)
        common |= {"task_experts": c["num_specific_experts"], "shared_experts": c["num_shared_experts"]}
        if self.kind == "stem":
            return mtlzoo.STEMNet(schema, layers=c["num_layers"], **common)
        return mtlzoo.PLE(
            schema, levels=c["num_layers"], shared_gate="all" if self.paper else "shared_experts", **common
        )

    def ours(self, name: str) -> str | None:
        """Our name of a reference parameter; None where we do not build it: the shared gate of the last level."""
        if self.kind in ("ple", "stem") and not self.paper:
            name = name.replace(f".gate.{self.config['num_tasks']}.", ".gate.SHARED.")
        for pattern, replacement in DEEPCTR if self.paper else STEM_REPOSITORY[self.kind]:
            if re.fullmatch(pattern, name):
                found = re.sub(pattern, replacement, name)
                found = re.sub(r"2\*(\d+)", lambda match: str(2 * int(match[1])), found)
                found = found.replace("LAST_GATE", str(2 * len(self.config.get("gate_hidden_units", []))))
                found = found.replace("LAST_TOWER", str(2 * len(self.config["tower_hidden_units"])))
                last = self.config.get("num_layers", 0) - 1
                return None if re.match(rf"(levels|layers)\.{last}\.shared_gate", found) else found
        raise KeyError(name)

    def parts(
        self, name: str, values: Any, of: Callable[[Tensor], Tensor | None]
    ) -> Iterator[tuple[Tensor | None, Tensor | None]]:
        """Our parameters (or, by `of`, their gradients) of the reference's `name`, each with its part of `values`.

        One, but for STEM's tables, which hold those of all tasks and the shared one side by side; none where we do not
        build it.
        """
        whole = None if values is None else torch.tensor(values, dtype=torch.float64)
        field = re.fullmatch(r"(?:embedding_layer.*embedding_layers|embedding_dict)\.(\w+)\.weight", name)
        if field is None:
            found = self.ours(name)
            if found is not None:
                yield of(self.parameters[found]), whole
            return
        embedding: Any = self.model.embedding
        sets = [*embedding.tasks, embedding.shared] if self.kind == "stem" else [embedding]
        numeric = [f.name for f in self.model.schema.numeric]
        for i, one in enumerate(sets):
            columns = slice(i * one.dim, (i + 1) * one.dim)
            if field[1] in numeric:
                ours = of(one.numeric)
                ours = None if ours is None else ours[numeric.index(field[1])]
                yield ours, None if whole is None else whole.flatten()[columns]
            else:
                ours, start = of(one.table.weight), one.offsets[field[1]]
                ours = None if ours is None else ours[start : start + self.model.schema.tables[field[1]]]
                yield ours, None if whole is None else whole[:, columns]

    def batch(self) -> dict[str, Tensor]:
        """The file's six rows."""
        inputs, schema = self.file["inputs"], self.model.schema
        batch = {
            "categorical": torch.tensor([inputs[f.name] for f in schema.categorical], dtype=torch.int32).T,
            "labels": torch.tensor([self.file["labels"][t.name] for t in schema.tasks], dtype=torch.float64).T,
        }
        if schema.numeric:
            batch["numeric"] = torch.tensor([inputs[f.name] for f in schema.numeric], dtype=torch.float64).T
        return batch

    def losses(self) -> list[Tensor]:
        batch = self.batch()
        return self.model.losses(self.model(batch), batch, self.model.count_observed(batch))


@pytest.fixture
def golden(golden_file: Path) -> Golden:
    return Golden(golden_file)


def test_golden_predictions_and_losses(golden: Golden) -> None:
    predictions = golden.model.predict_step(golden.batch(), 0)
    losses = golden.losses()
    for i, task in enumerate(golden.config["tasks"]):
        expected = torch.tensor(golden.file["predictions"][task], dtype=torch.float64)
        torch.testing.assert_close(predictions[task], expected, **TOLERANCE)
        assert abs(losses[i].item() - golden.file["loss"][task]) < 1e-10


def test_golden_gradients_of_every_task(golden: Golden) -> None:
    compared = 0
    for i, task in enumerate(golden.config["tasks"]):
        golden.model.zero_grad()
        golden.losses()[i].backward()
        for name, entry in golden.file["gradients"][task].items():
            for gradient, values in golden.parts(name, entry, lambda tensor: tensor.grad):
                if values is None:
                    assert gradient is None, f"{task} reaches {name}, which it must not"
                elif gradient is None:
                    # DeepCTR-Torch returns all tasks in one tensor, and STEM's tables are one, so what a task does not
                    # reach is zero there.
                    assert golden.paper or golden.kind == "stem", f"{task} does not reach {name}"
                    assert not values.any(), f"{task} does not reach {name}"
                else:
                    torch.testing.assert_close(gradient, values, **TOLERANCE, msg=partial("{}: {}".format, name))
                    compared += 1
    assert compared > len(golden.config["tasks"])


def test_golden_pattern_of_who_trains_what(golden: Golden) -> None:
    """A task has no gradient at all, not one of zeros, where it must not reach."""
    for i, task in enumerate(golden.config["tasks"]):
        golden.model.zero_grad()
        golden.losses()[i].backward()
        for name, words in golden.file.get("gradient_pattern", {}).items():
            found = [gradient for gradient, _ in golden.parts(name, None, lambda tensor: tensor.grad)]
            expected = words[task] if isinstance(words[task], dict) else {"whole": words[task]}
            for gradient, (part, word) in zip(found, expected.items(), strict=bool(found)):
                # Of one wide table the reference can only say that a slice got zeros.
                none = word == "none" or (word == "zero" and (part != "whole" or golden.paper))
                assert (gradient is None) == none, f"{task}: {name}, {part}"
                assert none or (gradient is not None and bool(gradient.any()) == (word == "nonzero"))


def test_golden_three_adam_steps(golden: Golden) -> None:
    optimizer = golden.model.configure_optimizers()
    training = golden.file["training"]
    for expected in training["total_loss_before_each_step"]:
        loss = torch.stack(golden.losses()).sum()
        assert abs(loss.item() - expected) < 1e-10
        optimizer.zero_grad()
        loss.backward()
        golden.model.on_before_optimizer_step(optimizer)
        optimizer.step()
    predictions = golden.model.predict_step(golden.batch(), 0)
    for task in golden.config["tasks"]:
        after = torch.tensor(training["predictions_after"][task], dtype=torch.float64)
        torch.testing.assert_close(predictions[task], after, **TOLERANCE)
