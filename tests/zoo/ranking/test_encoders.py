"""Encoders: the graph ones against dense matrices, their gradients, their graph in checkpoints."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mtlzoo.ranking.encoders import NGCF, Encoder, GraphEncoder, LightGCN, MatrixFactorization

USERS, ITEMS = 7, 9
PAIRS = torch.tensor([[2, 2, 3, 4, 5, 6, 6, 6], [2, 3, 3, 8, 4, 2, 3, 7]])


def adjacency() -> Tensor:
    """The symmetrically normalised adjacency, dense, from its definition."""
    a = torch.zeros(USERS + ITEMS, USERS + ITEMS, dtype=torch.float64)
    for user, item in PAIRS.T.tolist():
        a[user, USERS + item] = a[USERS + item, user] = 1
    root = torch.where(a.sum(1) > 0, a.sum(1), 1.0).rsqrt()
    return root[:, None] * a * root


def made(kind: type[GraphEncoder], **options: Any) -> GraphEncoder:
    torch.manual_seed(0)
    encoder = kind(USERS, ITEMS, 4, **options).double()
    encoder.connect(*PAIRS)
    return encoder


@pytest.mark.parametrize("layers", [1, 3])
def test_light_gcn_is_the_mean_of_powers(layers: int) -> None:
    encoder = made(LightGCN, layers=layers)
    a, e = adjacency(), encoder.table.weight
    expected = sum(torch.linalg.matrix_power(a, k) @ e for k in range(layers + 1)) / (layers + 1)
    torch.testing.assert_close(encoder.everything(), expected)
    gradient = torch.randn(USERS + ITEMS, 4, dtype=torch.float64)
    (got,) = torch.autograd.grad(encoder.everything(), e, gradient)
    torch.testing.assert_close(got, torch.autograd.grad(expected, e, gradient)[0])


def test_ngcf_is_its_formula() -> None:
    encoder = made(NGCF, layers=2)
    assert isinstance(encoder, NGCF)
    a = adjacency()
    x: Tensor = encoder.table.weight
    layers = [x]
    weights = [[parameter.t() for parameter in linear.parameters()] for linear in (*encoder.sums, *encoder.products)]
    for (w, b), (v, c) in zip(weights[:2], weights[2:], strict=True):
        near = a @ x
        x = torch.nn.functional.leaky_relu((near + x) @ w + b + (near * x) @ v + c, 0.2)
        layers.append(torch.nn.functional.normalize(x, dim=1))
    expected = torch.cat(layers, 1)
    assert encoder.width == expected.shape[1]
    torch.testing.assert_close(encoder.everything()[2:USERS], expected[2:USERS])
    parameters = list(encoder.parameters())
    got, wanted = (
        torch.autograd.grad(y[2:USERS].square().sum() + y[2:USERS, 5].sum(), parameters)
        for y in (encoder.everything(), expected)
    )
    for gradient, reference in zip(got, wanted, strict=True):
        torch.testing.assert_close(gradient, reference)


@pytest.mark.parametrize("kind", [MatrixFactorization, LightGCN, NGCF])
def test_some_vectors_are_rows_of_all(kind: type[Encoder]) -> None:
    torch.manual_seed(0)
    encoder = kind(USERS, ITEMS, 4)
    if isinstance(encoder, GraphEncoder):
        encoder.connect(*PAIRS)
    user, item = encoder(torch.tensor([3, 3, 6], dtype=torch.int32), torch.tensor([8], dtype=torch.int32))
    every = encoder.everything()
    torch.testing.assert_close(user, every[[3, 3, 6]])
    torch.testing.assert_close(item, every[[USERS + 8]])


def test_both_parts_of_the_table_are_xavier() -> None:
    encoder = MatrixFactorization(1000, 50, 32)
    for part in encoder.table.weight.split([1000, 50]):
        bound = (6 / (len(part) + 32)) ** 0.5
        assert bound * 0.95 < float(part.detach().abs().max()) <= bound
        assert not part[0].any()


def test_the_graph_is_in_the_checkpoint(tmp_path: Path) -> None:
    encoder = made(LightGCN)
    torch.save(encoder.state_dict(), tmp_path / "state")
    other = LightGCN(USERS, ITEMS, 4).double()
    other.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    torch.testing.assert_close(other.everything(), encoder.everything())


def test_refuses_to_pass_messages_without_a_graph() -> None:
    with pytest.raises(RuntimeError, match=r"LightGCN has no graph.*connect\(users, items\)"):
        LightGCN(USERS, ITEMS, 4).everything()


def test_refuses_ids_of_another_schema() -> None:
    encoder = MatrixFactorization(USERS, ITEMS, 4)
    with pytest.raises(RuntimeError, match="outside its table"):
        encoder(torch.tensor([USERS]), torch.tensor([2]))  # would be the first item
