"""PCD and SDMGrad: their states by group, and what they promise."""

from collections.abc import Callable

import pytest
import torch
from saved import saved_and_loaded
from torch import Tensor

from mtlzoo.callbacks.rules import PCD, GramianRule, SDMGrad

F64 = torch.float64
GRAMIAN_RULES: dict[str, Callable[[], GramianRule]] = {
    "SDMGrad": SDMGrad,
    "SDMGrad preference": lambda: SDMGrad(lambda_=0.1, preference=[1, 2, 3]),
    "PCD": PCD,
    "PCD last": lambda: PCD(2, tau=0.3, beta=0.5),
}


@pytest.mark.parametrize("build", GRAMIAN_RULES.values(), ids=GRAMIAN_RULES)
def test_groups_have_their_own_state(build: Callable[[], GramianRule]) -> None:
    rule, small = build(), build()
    rule.allocate(10, 3)
    small.allocate(4, 3)
    jacobian = torch.randn(6, 4, 3, 5, dtype=F64)
    gramians = jacobian @ jacobian.mT
    some = torch.tensor([7, 2, 5, 0])
    for gramian in gramians[:3]:
        torch.testing.assert_close(rule(gramian, groups=some), small(gramian), rtol=1e-12, atol=0)
    resumed = saved_and_loaded(rule, build())
    for gramian in gramians[3:]:
        assert torch.equal(rule(gramian, groups=some), resumed(gramian, groups=some))


def test_pcd_grants_progress() -> None:
    for main in (0, 2):
        jacobian = torch.randn(50, 3, 6, dtype=F64)
        rule = PCD(main, tau=0.1)
        rule.allocate(50, 3)
        weights = rule(jacobian @ jacobian.mT)
        direction = (weights[:, None] @ jacobian).squeeze(1)
        norms = jacobian.norm(dim=-1)
        torch.testing.assert_close(direction.norm(dim=-1), norms[:, main])
        products = (jacobian @ direction[..., None]).squeeze(-1)
        others = [t for t in range(3) if t != main]
        assert (products[:, others] > 0).all()
        # Nobody in the way: the main gradient.
        aligned = torch.eye(3, dtype=F64) + 0.5
        torch.testing.assert_close(one(PCD(main), aligned), torch.eye(3, dtype=F64)[main])


def one(rule: GramianRule, gramian: Tensor) -> Tensor:
    rule.allocate(1, gramian.shape[-1])
    return rule(gramian)  # type: ignore[no-any-return]


def test_pcd_at_its_limits() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.3, 1.0], [-0.3, -1.0], [0.0, 0.0]], dtype=F64)
    gramian = rows @ rows.T
    for scale in (1e-24, 1.0, 1e24):
        # The others oppose one another: the main gradient. Without main gradient: nothing.
        torch.testing.assert_close(one(PCD(0), scale * gramian), torch.tensor([1.0, 0, 0, 0], dtype=F64))
        assert not one(PCD(3), scale * gramian).any()
    assert not one(PCD(1), gramian[1:3, 1:3]).isnan().any()
    with pytest.raises(ValueError, match="main_task is still the name 'ctr'"):
        one(PCD("ctr"), gramian)
    with pytest.raises(ValueError, match="main_task 4 of 4 tasks"):
        one(PCD(4), gramian)


def test_sdmgrad_comes_near_the_shortest() -> None:
    jacobian = torch.randn(3, 8, dtype=F64)
    gramian = jacobian @ jacobian.T
    rule = SDMGrad(lr=0.5, n_iter=2000, lambda_=0.0)
    rule.allocate(1, 3)
    products = gramian @ rule(gramian)
    assert products.min() > 0.999 * (rule.weights[0] @ products)


def test_arguments() -> None:
    for build in (lambda: SDMGrad(lr=0.0), lambda: SDMGrad(n_iter=0), lambda: PCD(beta=1.0), lambda: PCD(tau=2.0)):
        with pytest.raises(ValueError, match="is not possible; allowed: "):
            build()
    with pytest.raises(ValueError, match=r"allocate\(groups, tasks\)"):
        SDMGrad()(torch.eye(3))
