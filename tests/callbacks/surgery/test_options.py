"""What `GradientSurgery` does not serve is refused, with what to do instead."""

from typing import Any

import lightning as L
import pytest
from fitting import fit
from foreign import Batch, Foreign
from torch import Tensor

from mtlzoo.callbacks import GradientSurgery, rules


class ScalarLoss(Foreign):
    def losses(self, batch: Batch) -> Tensor:
        return super().losses(batch).sum()


class OneTask(Foreign):
    def losses(self, batch: Batch) -> Tensor:
        return super().losses(batch)[:1]


@pytest.mark.parametrize(
    ("module", "callbacks", "message"),
    [
        (ScalarLoss, [{"rule": rules.Sum}], "vector \\[T\\]; found the shape \\(\\).*torch.stack"),
        (OneTask, [{"rule": rules.Sum}], "two tasks or more; found T = 1"),
        (Foreign, [{"rule": rules.Sum}, {"rule": rules.PCGrad}], "has taken over Foreign.backward already"),
        (Foreign, [{"rule": rules.Sum, "tasks": ["a", "b"]}], "3 losses for the tasks \\['a', 'b'\\]"),
        (Foreign, [{"rule": lambda: rules.PCD(main_task="x")}], "main_task='x'; allowed are \\['0', '1', '2'\\]"),
    ],
)
def test_refuses_with_a_remedy(module: type[Foreign], callbacks: list[dict[str, Any]], message: str) -> None:
    surgeries = [GradientSurgery(c["rule"](), tasks=c.get("tasks")) for c in callbacks]
    if len(surgeries) == 2:
        surgeries[1].__class__ = type("Second", (GradientSurgery,), {})  # Lightning refuses equal state keys itself
    one = module()
    with pytest.raises(ValueError, match=message):
        fit(one, *surgeries)
    assert "backward" not in one.__dict__, "the module's own backward is back"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": rules.PCGrad}, "give an object"),
        ({"rule": rules.DWA()}, "LossBalancing\\(DWA"),
        ({"rule": rules.Sum(), "level": "layer"}, "level='layer' with Sum; allowed: model, parameter, row"),
        ({"rule": rules.Sum(), "level": "row", "every_n_steps": 2}, "level='model'"),
        ({"rule": rules.Sum(), "every_n_steps": 0}, "allowed are 1"),
    ],
)
def test_refuses_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GradientSurgery(**options)


def test_refuses_strategies_that_hide_gradients() -> None:
    class Fake:
        strategy = L.pytorch.strategies.FSDPStrategy()

    with pytest.raises(ValueError, match=r"FSDPStrategy.*strategy='ddp'"):
        GradientSurgery(rules.Sum()).setup(Fake(), Foreign(), "fit")  # type: ignore[arg-type]
