"""The best of all items for each user, by dot product, in memory that does not grow with the number of items."""

import torch
from torch import Tensor

from mtlzoo.schema import FIRST_KNOWN, PADDING

USERS, ITEMS = 512, 2048
"""Users and items at a time: their scores take 4 MiB."""
GROUP = 16
"""Items that share a maximum."""
MERGE = 8
"""Candidates per user that wait until they are sorted in."""


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
    far: of I items in any order that are some ``k log(I / k)``.

    Args:
        users: Vectors [B, d].
        items: Vectors [I, d]; its row is an item's id.
        k: Items per user, at least 1.
        excluded: Ids that a user is not shown, int [B, S], padded with 0; may repeat.
        first: Ids below it are no items.
        chunk: Items at a time; the result does not depend on it.

    Returns:
        Ids, int64 [B, k], best first; 0 where there are no more. Items whose score is NaN or -inf are never shown.
    """
    parts = [
        _top(users[rows], items, k, None if excluded is None else excluded[rows], first, max(chunk, GROUP))
        for rows in (slice(start, start + USERS) for start in range(0, len(users), USERS))
    ]
    return torch.cat(parts) if parts else torch.zeros(0, k, dtype=torch.int64, device=users.device)


def _top(users: Tensor, items: Tensor, k: int, excluded: Tensor | None, first: int, chunk: int) -> Tensor:
    number = len(users)
    best = users.new_full((number, k), -torch.inf)
    ids = torch.zeros(number, k, dtype=torch.int64, device=users.device)
    starts = list(range(first, len(items), chunk))
    hidden = _by_item(excluded, [*starts, len(items)]) if excluded is not None and excluded.shape[1] else None
    waiting: list[tuple[Tensor, Tensor, Tensor]] = []
    every = users.new_empty(min(chunk, max(len(items) - first, 0)), number)  # one for all: fresh memory costs as much
    for place, start in enumerate(starts):
        # [items, users]: the maximum of a group is then a maximum of whole rows, which is quick.
        some = items[start : start + chunk]
        scores = torch.mm(some, users.T, out=every[: len(some)])
        if hidden is not None:
            item, user, bounds = hidden
            inside = slice(bounds[place], bounds[place + 1])
            scores[item[inside] - start, user[inside]] = -torch.inf
        if place == 0:
            bound = _bound(scores, k)
            item, user = ((scores >= bound) & (scores > -torch.inf)).nonzero(as_tuple=True)
        else:
            # An equal score of a later item does not enter.
            item, user = _better(scores, best[:, -1])
        waiting.append((user, item + start, scores[item, user]))
        if place == 0 or place == len(starts) - 1 or sum(len(each) for each, _, _ in waiting) > MERGE * number:
            best, ids = _merged(best, ids, *(torch.cat(parts) for parts in zip(*waiting, strict=True)))
            waiting = []
    return ids.masked_fill(best == -torch.inf, PADDING)


def _bound(scores: Tensor, k: int) -> Tensor:
    """The k-th best score of each user among the first items; NaN counts as none."""
    known = scores.masked_fill(scores.isnan(), -torch.inf)
    if len(known) < k:
        return known.new_full(known.shape[1:], -torch.inf)
    return known.topk(k, dim=0).values[-1]


def _better(scores: Tensor, bound: Tensor) -> tuple[Tensor, Tensor]:
    """Items and users of the scores above the users' bounds."""
    whole = len(scores) // GROUP * GROUP
    largest = scores[:whole].view(-1, GROUP, scores.shape[1]).amax(1)
    # Not "largest > bound": the maximum of a group that holds a NaN is NaN, and it may hold something else.
    group, user = (~(largest <= bound)).nonzero(as_tuple=True)
    item = (group.unsqueeze(1) * GROUP + torch.arange(GROUP, device=scores.device)).flatten()
    user = user.repeat_interleave(GROUP)
    above = scores[item, user] > bound[user]
    item, user = item[above], user[above]
    if whole < len(scores):
        rest, other = (scores[whole:] > bound).nonzero(as_tuple=True)
        item, user = torch.cat([item, rest + whole]), torch.cat([user, other])
    return item, user


def _merged(best: Tensor, ids: Tensor, user: Tensor, item: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """The best with candidates, whose items all come after those that are there."""
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
    both, named = torch.cat([best[some], wide], 1), torch.cat([ids[some], named], 1)
    # Stable: what is there is before what comes, and ids ascend within both.
    values, order = both.sort(dim=1, descending=True, stable=True)
    k = best.shape[1]
    return best.index_copy(0, some, values[:, :k]), ids.index_copy(0, some, named.gather(1, order[:, :k]))


def _by_item(excluded: Tensor, starts: list[int]) -> tuple[Tensor, Tensor, list[int]]:
    """Pairs of item and user sorted by item, and where the items from each start on begin among them."""
    item, order = excluded.long().flatten().sort()
    bounds = torch.searchsorted(item, torch.tensor(starts, device=item.device)).tolist()
    return item, order // excluded.shape[1], bounds
