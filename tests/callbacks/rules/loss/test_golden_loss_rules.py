"""Rules on losses against the numbers of every ``rules*.json`` in `MTLZOO_GOLDEN`."""

import json
import re
from typing import Any

import pytest
import torch
from golden_rules import FILES, Entry, parametrized, tensor

from mtlzoo.callbacks.rules import DWA, FAMO, GLS, IMTLL, RLW, STCH, UW, Equal, LossRule
from mtlzoo.callbacks.rules.draws import Draws

pytestmark = pytest.mark.every_case

each_loss_rule = parametrized("loss_rules")


def numbers_in(name: str, key: str) -> list[float] | None:
    """The vector in ``..._key=[...]``."""
    match = re.search(rf"{key}=\[([^\]]*)\]", name)
    return [float(part) for part in match[1].split(",")] if match else None


def number_in(name: str, key: str, default: float) -> float:
    match = re.search(rf"{key}=(-?[\d.]+(?:e-?\d+)?)", name)
    return float(match[1]) if match else default


def derivative(rule: LossRule, entry: Entry) -> None:
    weights = rule(tensor(entry["losses"]))
    torch.testing.assert_close(weights, tensor(entry["d/dlosses"]), rtol=1e-10, atol=1e-10)


def learned(rule: Any, buffer: str, entry: Entry, values: list[float] | None, all_of: float) -> None:
    """Weights and the derivatives by the learned values, which are set first."""
    losses = tensor(entry["losses"])
    rule.allocate(len(losses))
    rule.get_buffer(buffer).copy_(tensor(values) if values else torch.full_like(losses, all_of))
    parameters = entry.get("d/dparams") or [entry["d/dloss_scale"]]
    torch.testing.assert_close(rule.slopes(losses), tensor(parameters[0]), rtol=1e-10, atol=1e-10)
    derivative(rule, entry)


@each_loss_rule
def test_loss_rule(name: str, entry: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: C901  # one kind a line
    library, kind = name.split("_")[:2]
    if kind == "UW":
        start = number_in(name, "log_var", number_in(name, "loss_scale", 0.0)) if "=[" not in name else 0.0
        learned(UW(), "log_variances", entry, numbers_in(name, "log_var"), start)
    elif kind == "IMTLL":
        learned(IMTLL(), "log_scales", entry, numbers_in(name, "log_scale"), 0.0)
    elif kind in ("GeometricMean", "GLS"):
        derivative(GLS(), entry)
    elif kind == "EW":
        derivative(Equal(), entry)
    elif kind == "STCH" and library == "torchjd":
        mu, weights, best = number_in(name, "mu", 1.0), numbers_in(name, "w"), numbers_in(name, "z")
        derivative(STCH(mu, "linear", weights=weights, reference=best), entry)
    elif kind == "STCH":
        # The nadir is the first vector of losses: that of the rules that see several epochs.
        derivative(STCH(number_in(name, "mu", 1.0), reference=first_losses()), entry)
    elif kind == "DWA" and isinstance(entry, list):
        rule = DWA(number_in(name, "T", 2.0))
        for epoch in entry:
            derivative(rule, epoch)
            rule.end_epoch()
    elif kind == "DWA":
        rule = DWA(number_in(name, "T", 2.0))
        for epoch in epochs_of_dwa()[:2]:
            rule(tensor(epoch["losses"]))
            rule.end_epoch()
        derivative(rule, entry)
    elif kind == "FAMO":
        famo = FAMO(
            number_in(name, "lr", 0.025), number_in(name, "wd", 1e-3), min_losses=[-1e-8] * len(entry[0]["losses"])
        )
        for step in entry:
            derivative(famo, step)
            famo.update(tensor(step["after"]))
            logits = tensor(step.get("logits_after_update") or step["w_after"])
            torch.testing.assert_close(famo.logits, logits, rtol=0, atol=1e-10)
    elif kind == "RLW":
        seed = int(number_in(name.replace("seed_", "seed="), "seed", 0))
        monkeypatch.setattr(Draws, "generator", lambda self: torch.Generator().manual_seed(seed))
        weights = RLW()(tensor(entry["losses"]))
        torch.testing.assert_close(weights, tensor(entry["d/dlosses"]), rtol=1e-6, atol=1e-6)
    elif kind == "GradDrop":
        # LibMTL drops features; the signs are drawn the same way, from products with the features.
        pytest.skip("the feature form of GradDrop is not offered")
    else:
        pytest.skip(f"{kind} is not offered")


def epochs_of_dwa() -> list[Entry]:
    """The epochs of torchjd's DWA entry, which LibMTL's goes through as well."""
    for path in FILES:
        for name, entry in json.loads(path.read_text())["loss_rules"].items():
            if name.startswith("torchjd_DWA"):
                return list(entry)
    pytest.skip("no epochs to go through in this file")


def first_losses() -> list[float]:
    return [float(loss) for loss in epochs_of_dwa()[0]["losses"]]
