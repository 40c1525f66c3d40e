"""The best of all items for each user, by dot product, in memory that does not grow with the number of items."""

import torch
from torch import Tensor

from mtlzoo.ranking.by_key import top_by_key
from mtlzoo.schema import FIRST_KNOWN

USERS, ITEMS = 512, 2048
"""Users and items at a time: their scores take 4 MiB."""
GROUP = 16
"""Items that share a maximum."""
GOLDEN = 5**0.5 / 2 - 0.5
"""Its multiples modulo 1 put chunks into an order without one."""
MERGE = 8
"""Candidates per user that wait until they are sorted in."""


@torch.no_grad()
def top_items(
    users: Tensor,
    items: Tensor,
    k: int,
    excluded: Tensor | None = None,
    *,
    first: int = FIRST_KNOWN,
    chunk: int = ITEMS,
) -> Tensor:
    """The k best items of each user; of equal ones the smaller id is first.

    Sorting is what costs, so a score is only looked at where the maximum of its group beats the user's k-th best so
    far: of I items in any order that are some ``k log(I / k)``. Chunks are taken out of their order, so that items from
    worst to best, as a vocabulary may have them, cost a few chunks of all their scores and not all.

    Args:
        users: Vectors [B, d].
        items: Vectors [I, d]; its row is an item's id.
        k: Items per user, at least 1.
        excluded: Ids that a user is not shown, int [B, S], padded with 0; may repeat.
        first: Ids below it are no items.
        chunk: Items at a time; the result does not depend on it.

    Returns:
        Ids, int64 [B, k], best first; 0 where there are no more. Items whose score is NaN or -inf are never shown.

    Raises:
        ValueError: k below 1, or rows of `excluded` that are not those of `users`.
    """
    return top_scores(users, items, k, excluded, first=first, chunk=chunk)[1]


@torch.no_grad()
def top_scores(
    users: Tensor,
    items: Tensor,
    k: int,
    excluded: Tensor | None = None,
    *,
    first: int = FIRST_KNOWN,
    chunk: int = ITEMS,
) -> tuple[Tensor, Tensor]:
    """Scores [B, k] of the items of `top_items`, -inf where there are no more, and their ids; arguments as there."""
    if k < 1:
        raise ValueError(f"top_items: k={k}; allowed is >= 1.")
    if excluded is not None and len(excluded) != len(users):
        raise ValueError(f"top_items: excluded has {len(excluded)} rows and users {len(users)}; give each user's own.")
    if not len(users):
        return users.new_zeros(0, k), torch.zeros(0, k, dtype=torch.int64, device=users.device)
    if users.device.type != "cpu" and users.dtype != torch.float64:
        return top_by_key(users, items, k, excluded, first)
    parts = [
        _top(users[rows], items, k, None if excluded is None else excluded[rows], first, max(chunk, GROUP))
        for rows in (slice(start, start + USERS) for start in range(0, len(users), USERS))
    ]
    scores, ids = zip(*parts, strict=True)
    return torch.cat(scores), torch.cat(ids)


def _top(
    users: Tensor, items: Tensor, k: int, excluded: Tensor | None, first: int, chunk: int
) -> tuple[Tensor, Tensor]:
    number, starts = len(users), range(first, len(items), chunk)
    best = users.new_full((number, k), -torch.inf)
    ids = torch.zeros(number, k, dtype=torch.int64, device=users.device)
    hidden = None if excluded is None else _by_item(excluded, [*starts, len(items)])
    waiting: list[tuple[Tensor, Tensor, Tensor]] = []
    # One for all: fresh memory costs as much as the products.
    every = users.new_empty(min(chunk, max(len(items) - first, 0)), number)
    for turn, place in enumerate(sorted(range(len(starts)), key=lambda place: place * GOLDEN % 1)):
        # [items, users]: the maximum of a group is then a maximum of whole rows, which is quick.
        start = starts[place]
        some = items[start : start + chunk]
        scores = torch.mm(some, users.T, out=every[: len(some)])
        if hidden is not None:
            item, user, bounds = hidden
            inside = slice(bounds[place], bounds[place + 1])
            scores[item[inside] - start, user[inside]] = -torch.inf
        if turn == 0:
            row, user = ((scores >= _bound(scores, k)) & (scores > -torch.inf)).nonzero(as_tuple=True)
        else:
            row, user = _better(scores, best[:, -1], ids[:, -1] - start)
        waiting.append((user, row + start, scores[row, user]))
        if turn == 0 or turn == len(starts) - 1 or sum(len(each) for each, _, _ in waiting) > MERGE * number:
            best, ids = _merged(best, ids, *(torch.cat(parts) for parts in zip(*waiting, strict=True)))
            waiting = []
    return best, ids


def _bound(scores: Tensor, k: int) -> Tensor:
    """The k-th best score of each user among the first items; NaN counts as none."""
    known = scores.masked_fill(scores.isnan(), -torch.inf)
    if len(known) < k:
        return known.new_full(known.shape[1:], -torch.inf)
    return known.topk(k, dim=0).values[-1]


def _better(scores: Tensor, bound: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and users of the scores above the users' bounds, or equal to them in a row before the last."""
    whole = len(scores) // GROUP * GROUP
    largest = scores[:whole].view(-1, GROUP, scores.shape[1]).amax(1)
    # Not "largest >= bound": the maximum of a group that holds a NaN is NaN, and it may hold something else.
    group, user = (~(largest < bound)).nonzero(as_tuple=True)
    ahead = (largest[group, user] != bound[user]) | (group * GROUP < last[user])
    group, user = group[ahead], user[ahead]
    row = (group.unsqueeze(1) * GROUP + torch.arange(GROUP, device=scores.device)).flatten()
    user = user.repeat_interleave(GROUP)
    enough = scores[row, user] >= bound[user]
    rest, other = (scores[whole:] >= bound).nonzero(as_tuple=True)
    row, user = torch.cat([row[enough], rest + whole]), torch.cat([user[enough], other])
    better = (scores[row, user] > bound[user]) | (row < last[user])
    return row[better], user[better]


def _merged(best: Tensor, ids: Tensor, user: Tensor, item: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """The best with candidates."""
    if not len(user):
        return best, ids
    order = (user * (item.max() + 1) + item).argsort()
    user, item, scores = user[order], item[order], scores[order]
    counts = torch.bincount(user, minlength=len(best))
    some = counts.nonzero().squeeze(1)
    column = torch.arange(len(user), device=user.device) - (counts.cumsum(0) - counts)[user]
    place = torch.zeros_like(counts)
    place[some] = torch.arange(len(some), device=user.device)
    wide = best.new_full((len(some), int(counts.max())), -torch.inf)
    named = ids.new_zeros(wide.shape)
    wide[place[user], column], named[place[user], column] = scores, item
    k = best.shape[1]
    both, named = torch.cat([best[some], wide], 1), torch.cat([ids[some], named], 1)
    values, order = both.sort(dim=1, descending=True, stable=True)
    named = named.gather(1, order)
    if ((values[:, 1:] == values[:, :-1]) & (named[:, 1:] < named[:, :-1]) & (values[:, 1:] > -torch.inf)).any():
        # Rare: what comes equals what is there, and has the smaller id.
        named, order = named.sort(1)
        values, order = values.gather(1, order).sort(dim=1, descending=True, stable=True)
        named = named.gather(1, order)
    return best.index_copy(0, some, values[:, :k]), ids.index_copy(0, some, named[:, :k])


def _by_item(excluded: Tensor, starts: list[int]) -> tuple[Tensor, Tensor, list[int]]:
    """Pairs of item and user sorted by item, and where the items from each start on begin among them."""
    item, order = excluded.long().flatten().sort()
    bounds = torch.searchsorted(item, torch.tensor(starts, device=item.device)).tolist()
    return item, order // max(excluded.shape[1], 1), bounds
