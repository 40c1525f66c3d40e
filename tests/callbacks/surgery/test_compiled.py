"""Whole modules compiled, by `torch.compile(module)` or in place: surgery is as exact as without."""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from fitting import LEVELS, fit
from foreign import Batch, Foreign, Manual, Tables
from torch import Tensor, nn
from torch._functorch import config as functorch_config
from torch.compiler import config as compiler_config

from mtlzoo.callbacks import GradientSurgery, LossBalancing, rules
from mtlzoo.callbacks.surgery.compiled import TAG, let_passes_run_again

NAMED = "{}: {}".format


class Net(Foreign):
    """Trunk, tables and heads in `forward`, as most modules have them."""

    def build(self) -> None:
        super().build()
        self.table = nn.Embedding(20, 5)

    def forward(self, ids: Tensor, x: Tensor) -> list[Tensor]:
        h = self.trunk(self.table(ids[:, 0]).to(x) + x)
        return [head(h).squeeze(1) for head in self.heads]

    def outputs(self, batch: Batch) -> list[Tensor]:
        found: list[Tensor] = self(batch["ids"], batch["x"])
        return found


class NetManual(Net, Manual):
    """The same in manual optimisation."""


class NormedTables(Tables):
    """Without dropout, which draws otherwise when compiled."""

    def build(self) -> None:
        super().build()
        self.drop = nn.Identity()  # type: ignore[assignment]
        self.frequent = nn.Embedding(20, 3)  # torch's compiler knows no scale_grad_by_freq
        self.max = nn.EmbeddingBag(15, 3, mode="sum")


def trained(module_class: type[Foreign], callback: Any, how: str) -> Foreign:
    torch.compiler.reset()
    torch.manual_seed(0)
    module = module_class()
    if how == "in place":
        module.compile(backend="aot_eager")
    whole: Any = torch.compile(module, backend="aot_eager") if how == "compile" else module
    fit(whole, callback, steps=3)
    return module


CALLBACKS: dict[str, Callable[[], Any]] = {
    **{level: partial(lambda level: GradientSurgery(rules.PCGrad(order="fixed"), level), level) for level in LEVELS},
    "fixed": lambda: GradientSurgery(rules.Fixed([0.01, 0.01, 0.01])),
    "balancing": lambda: LossBalancing(rules.UW()),
}
CASES = [
    (name, kind, how)
    for name in CALLBACKS
    for kind in (Net, NetManual, NormedTables)
    for how in ("compile", "in place")
    # Seconds each, as the graph of a step by hand breaks often; the levels are those of the others.
    if (kind, how) != (NetManual, "compile") or name in ("model", "balancing")
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch's compiler
@pytest.mark.parametrize(("name", "module_class", "how"), CASES)
def test_a_compiled_module_trains_as_it_does_by_itself(name: str, module_class: type[Foreign], how: str) -> None:
    wanted = trained(module_class, CALLBACKS[name](), "eager").state_dict()
    got = trained(module_class, CALLBACKS[name](), how).state_dict()
    for key, weight in wanted.items():
        torch.testing.assert_close(got[key], weight, rtol=1e-9, atol=1e-11, msg=partial(NAMED, key))


@pytest.mark.parametrize(
    ("donated", "tag", "anew"),
    [(True, "", 1), (False, "mine ", 1), (True, f"mine {TAG}", 1), (False, f"mine {TAG}", 0)],
)
def test_what_was_compiled_is_compiled_anew_unless_it_was_for_surgery(
    donated: bool, tag: str, anew: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where somebody has forbidden to give buffers away, as what lies on disk may have been made before."""
    times = []
    monkeypatch.setattr(torch.compiler, "reset", lambda: times.append(1))
    monkeypatch.setitem(sys.modules, "torch._dynamo", torch)  # as if something had been compiled
    with functorch_config.patch(donated_buffer=donated), compiler_config.patch(cache_key_tag=tag):  # type: ignore[attr-defined]
        let_passes_run_again()
        assert not functorch_config.donated_buffer
        assert compiler_config.cache_key_tag == (tag if TAG in tag else tag + TAG)
    assert len(times) == anew
