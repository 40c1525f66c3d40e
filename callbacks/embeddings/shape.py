"""How the rows of an embedding table lie in their space."""

from typing import NamedTuple

import torch
from torch import Tensor


class TableShape(NamedTuple):
    """What a table is like; NaN where its rows are all zero, or not finite.

    Args:
        norm: Mean length of the rows.
        effective_rank: ``exp(-sum p log p)`` with ``p = s / sum s`` of the singular values s: between 1 and the width.
            Source: Roy and Vetterli, "The Effective Rank", EUSIPCO 2007; as a measure of collapse Garrido et al.,
            "RankMe", ICML 2023.
        collapse: ``max s^2 / sum s^2``, the share of all squared lengths that lies in one direction: between 1 / width
            and 1, where all rows lie on one line. How tables of recommenders collapse: Guo et al., "On the Embedding
            Collapse when Scaling up Recommendation Models", ICML 2024.
    """

    norm: float
    effective_rank: float
    collapse: float


def shape_of(rows: Tensor) -> TableShape:
    """The shape of some rows, from their Gramian [d, d]: what they cost is one product, and one wait for the device.

    Args:
        rows: [n, d].
    """
    rows = rows.detach().double()
    gramian, norm = rows.T @ rows, torch.linalg.vector_norm(rows, dim=1).mean()
    *entries, length = torch.cat([gramian.flatten(), norm.reshape(1)]).tolist()
    on_host = torch.tensor(entries, dtype=torch.float64, device="cpu").reshape(gramian.shape)
    if not on_host.isfinite().all() or not on_host.any():
        return TableShape(length, torch.nan, torch.nan)
    squares = torch.linalg.eigvalsh(on_host).clamp(min=0.0)
    shares = squares.sqrt() / squares.sqrt().sum()
    return TableShape(length, float(torch.special.entr(shares).sum().exp()), float(squares.max() / squares.sum()))
