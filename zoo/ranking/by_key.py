"""The best of all items for each user on a GPU: shapes that depend on no score, so the host waits for nothing."""

import torch
from torch import Tensor

SCORES = 2**26
"""Scores at a time; they and their keys take 768 MiB."""
LOW = 2**31 - 1
"""The bits of a key that hold the item."""


def top_by_key(users: Tensor, items: Tensor, k: int, excluded: Tensor | None, first: int) -> tuple[Tensor, Tensor]:
    """As `top_scores`, for vectors of 32 bits or fewer and less than 2^31 items.

    A score and its item make one whole number, the score in the upper bits and the items from the last to the first in
    the lower: no two are equal, so the k largest are those of the ranking, ties by the smaller id included.

    Args:
        users: Vectors [B, d], at least one.
        items: Vectors [I, d].
        k: Items per user, at least 1.
        excluded: Ids that a user is not shown, int [B, S], padded with 0.
        first: Ids below it are no items.

    Returns:
        Scores [B, k], best first; -inf where there are no more. Ids, int64 [B, k]; 0 where there are no more.
    """
    number = len(items)
    size = max(1, SCORES // max(number, 1))
    parts = [
        _top(users[rows], items, min(k, number), None if excluded is None else excluded[rows], first)
        for rows in (slice(start, start + size) for start in range(0, len(users), size))
    ]
    scores, ids = (torch.cat(each) for each in zip(*parts, strict=True))
    missing = (0, k - ids.shape[1])
    return torch.nn.functional.pad(scores, missing, value=-torch.inf), torch.nn.functional.pad(ids, missing)


def _top(users: Tensor, items: Tensor, k: int, excluded: Tensor | None, first: int) -> tuple[Tensor, Tensor]:
    scores = (users @ items.T).float().nan_to_num_(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
    scores[:, :first] = -torch.inf
    if excluded is not None:
        ids = excluded.long()
        scores.scatter_(1, torch.where(ids < len(items), ids, 0), -torch.inf)
    bits = scores.add_(0.0).view(torch.int32)  # -0 becomes 0, which equals it
    ordered = torch.where(bits < 0, bits ^ LOW, bits).long()  # whole numbers in the order of the scores
    keys = (ordered << 31) + torch.arange(len(items) - 1, -1, -1, device=items.device)
    best = keys.topk(k).values
    ids = len(items) - 1 - (best & LOW)
    found = scores.gather(1, ids)
    return found, torch.where(found > -torch.inf, ids, 0)
