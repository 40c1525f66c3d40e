"""Which parameters level `row` takes row by row, and what it refuses."""

from typing import Any

import pytest
import torch
from fitting import fit_on
from recommenders import Mixed, PlainGraph, data_of
from torch import nn

from mtlzoo.callbacks import GradientSurgery, rules
from mtlzoo.callbacks.surgery.groups import Groups, find_tables


def test_tables_are_embeddings_and_what_is_named() -> None:
    parts = nn.Embedding(3, 2), nn.EmbeddingBag(4, 2), nn.Linear(2, 5)
    module = nn.ModuleDict(dict(zip("abc", parts, strict=True)))
    a, b, c = (part.weight for part in parts)
    found = find_tables(module, ["c.weight"])
    assert len(found) == 3
    assert all(x is y for x, y in zip(found, (a, b, c), strict=True))
    groups = Groups.of("row", module.parameters(), found)
    assert (groups.first[a], groups.first[b], groups.first[c], groups.total) == (0, 3, 7, 13)
    assert Groups.of("row", module.parameters(), found[:2]).total == 9
    with pytest.raises(ValueError, match=r"tables=\['c.bias'\].*allowed are \['a.weight', 'b.weight', 'c.weight'\]"):
        find_tables(module, ["c.weight", "c.bias"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"others": "mean"}, "others='mean'; allowed are 'rule' and 'sum'"),
        ({"others": "sum", "level": "model"}, "others='sum'.*level='model' and PMTRecRule; allowed with level='row'"),
        ({"others": "sum", "level": "parameter"}, "level='row' and a rule that gives weights"),
        ({"tables": ["table"], "level": "model"}, "tables=\\['table'\\] with level='model'"),
        ({"others": "sum", "rule": rules.GradDrop()}, "level='row' and GradDrop"),
    ],
)
def test_refuses_options_that_mean_nothing(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GradientSurgery(**{"rule": rules.PMTRecRule(), "level": "row", **options})


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        (PlainGraph, {"others": "sum"}, r"PlainGraph has no nn.Embedding.*tables=\[\.\.\.\]"),
        (Mixed, {"tables": ["bias"]}, r"tables=\['bias'\], but Mixed has no such matrices; allowed are \['tables.0"),
    ],
)
def test_refuses_modules_without_tables(module: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_on(data_of("64-true"), module(), GradientSurgery(rules.PMTRecRule(), level="row", **options))


class Separate(Mixed):
    """Tables that one task each reads: nothing is left for the rule."""

    def losses(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        x = self.scale * self.mix.weight.sum()
        return torch.stack([x * list(self.tables.parameters())[t][:2].sum() for t in range(2)] + [x, x * 2])


def test_nothing_for_the_rule() -> None:
    module = Separate(fused=False)
    surgery = GradientSurgery(rules.PMTRecRule(), level="row", others="sum", tasks=list("abcd"))
    fit_on(data_of("64-true"), module, surgery)
    assert surgery.gramians is None
    twin = Separate(fused=False)
    _, data, weights, got = module.steps[0]
    twin.double().load_state_dict(weights)
    twin.losses(data).sum().backward()
    for name, parameter in twin.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(got[name], parameter.grad)
