"""The full ranking: the best 40 of all items for every user, beside a straightforward `torch.topk`.

    python benchmarks/ranking.py [--users 20000] [--items 300000] [--dim 32] [--repeats 3] [--busy]

Random vectors, 40 excluded items per user, users in batches of 1,024 as an evaluation has them. `topk` makes all scores
of a batch, sets the excluded ones to -inf and takes `torch.topk`. Both ways rank all users in turn, and must find items
of the same scores. Peaks are of processes of their own, above what each held before. `--busy` is for a machine that
others use meanwhile: one thread, and its CPU time.

Result: benchmarks/results/ranking.json.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import interleave
import memory
import torch
from report import show, write
from torch import Tensor

from mtlzoo.ranking.full_ranking import top_items

K, EXCLUDED, BATCH = 40, 40, 1024


def plain(users: Tensor, items: Tensor, excluded: Tensor) -> Tensor:
    """All scores at once."""
    scores = users @ items.T
    scores[:, :2] = -torch.inf
    scores.scatter_(1, excluded, -torch.inf)
    return scores.topk(K).indices


def ours(users: Tensor, items: Tensor, excluded: Tensor) -> Tensor:
    """What PMTRec evaluates with."""
    return top_items(users, items, K, excluded)


WAYS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {"topk": plain, "top_items": ours}


def everyone(way: str, users: Tensor, items: Tensor, excluded: Tensor) -> Tensor:
    """The best items of all users, batch by batch."""
    parts = zip(users.split(BATCH), excluded.split(BATCH), strict=True)
    return torch.cat([WAYS[way](some, items, hidden) for some, hidden in parts])


def drawn(users: int, items: int, dim: int = 32) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors of users and of items, and items that each user is not to get."""
    draw = torch.Generator().manual_seed(0)
    vectors = [torch.randn(n, dim, generator=draw) for n in (users, items)]
    return vectors[0], vectors[1], torch.randint(2, items, (users, EXCLUDED), generator=draw)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--items", type=int, default=300_000)
    parser.add_argument("--dim", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    interleave.busy(options.busy)
    users, items, excluded = drawn(options.users, options.items, options.dim)
    if options.one:
        before = memory.start()
        everyone(options.one, users[: 4 * BATCH], items, excluded[: 4 * BATCH])
        print(json.dumps(memory.peak() - before))
        return
    # Products of other shapes round otherwise, so nearly equal items may change places: their scores agree.
    found = [everyone(way, users[:BATCH], items, excluded[:BATCH]) for way in WAYS]
    scores = [torch.einsum("bd,bkd->bk", users[:BATCH], items[ids]) for ids in found]
    torch.testing.assert_close(*scores)
    steps = {way: partial(everyone, way, users, items, excluded) for way in WAYS}
    seconds = interleave.in_turn(steps, seconds=0, least=options.repeats)
    table = []
    for way, taken in seconds.items():
        command = [sys.executable, __file__, *sys.argv[1:], "--one", way]
        added = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        row = {"way": way, "seconds": round(taken, 2), "users/s": round(options.users / taken)}
        table.append(row | {"times as fast": round(seconds["topk"] / taken, 2), "added MiB": round(added)})
    write("ranking", vars(options), table)
    show("Full ranking", table)


if __name__ == "__main__":
    main()
