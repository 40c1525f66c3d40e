"""Whole batches by slicing memory-mapped columns: no worker processes, no per-row Python."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import SequentialSampler

from mtlzoo.datamodules.loading.device import ahead, kept_on

CPU = torch.device("cpu")
WINDOW = 2**22
"""Rows that are shuffled together; data of at most this size get a uniform permutation."""
CHUNK = 2**14
"""Neighbouring rows that enter a window together, so that larger data are read from disk in runs, not row by row."""

STEPS = 256
"""Batches of an epoch, at least, where nobody chose the size of a batch and it need not fall below `SMALLEST`: with
fewer, small tables are not learned in the epochs of a training (docs/data.md, "Presets")."""
SMALLEST, LARGEST = 32, 4096
"""Rows of a batch that nobody chose the size of."""


def default_batch_size(rows: int) -> int:
    """The largest power of two that makes `STEPS` batches or more of `rows`, from `SMALLEST` to `LARGEST`."""
    return min(max(2 ** ((rows // STEPS).bit_length() - 1), SMALLEST), LARGEST) if rows >= STEPS else SMALLEST


class BatchLoader:
    """Batches of one split for one process, resumable in the middle of an epoch.

    Shuffled, batch ``i`` of an epoch is the rows ``[i * G, (i + 1) * G)`` of one global order, ``G = batch_size *
    world_size``, and every process takes its share of them: N processes see together exactly the batches that one
    process with a batch of ``G`` rows sees. The last batch is short. Unshuffled, every process has one contiguous part
    of the rows. All processes get the same number of batches, and no row is dropped or repeated: where there are too
    few rows for all, some get an empty batch.

    Args:
        columns: Tensors with the same number of rows (memory-mapped or not), by batch key.
        batch_size: Rows per batch and process.
        shuffle: A new order per epoch, which depends on `seed` and the epoch alone.
        seed: Seed of the order.
        rank: This process, in [0, world_size).
        world_size: Number of processes.
        identity: Says which data the columns are of, so that a trained model refuses others; see `MultiTaskDataModule`.
        device: Where the model trains. On a GPU with room for them the columns are kept there, from the first batch on,
            and batches are cut there; the order is the same everywhere.

    Each batch is the columns' rows plus ``row``, int64 [B]: their positions in the split.
    """

    def __init__(
        self,
        columns: Mapping[str, Tensor],
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        identity: Mapping[str, Any] | None = None,
        device: torch.device = CPU,
    ) -> None:
        if batch_size < 1 or not 0 <= rank < world_size:
            raise ValueError(
                f"BatchLoader: batch_size={batch_size}, rank={rank} of {world_size}; "
                "allowed are batch_size >= 1, 0 <= rank < world_size."
            )
        self.columns = columns
        self._cut = columns  # the same, or their copies where the model trains
        self._cut_of = columns
        self.rows = len(next(iter(self.columns.values())))
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.identity = identity
        self.device = device
        self._epoch = 0
        self._batch = 0
        self._resumed: int | None = None

    def __repr__(self) -> str:
        """Rows, batches and their order."""
        order = f"shuffled by seed {self.seed}" if self.shuffle else "in order"
        place = f", process {self.rank} of {self.world_size}" if self.world_size > 1 else ""
        name = type(self).__name__
        return f"{name}({self.rows:,} rows in {len(self):,} batches of {self.batch_size:,}, {order}{place})"

    def __len__(self) -> int:
        """Batches per epoch."""
        return -(-self.rows // (self.batch_size * self.world_size))

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """One epoch, from its start or from where a loaded state left it.

        Lightning makes the iterator before it tells the epoch, so nothing here happens before the first ``next``.
        """
        first = self._resumed or 0
        self._resumed = None
        if self._cut_of is not self.columns:  # somebody has given it others
            self._cut = self._cut_of = self.columns
        if self._keeps and self._lies != self.device and kept_on(self.device, self._cut):
            self._cut = {name: column.to(self.device) for name, column in self.columns.items()}
        batches = self._shuffled(first) if self.shuffle else self._in_order(first)
        pinned = self.device.type == "cuda" and self._lies.type == "cpu"
        for index, batch in enumerate(ahead(batches) if pinned else batches, start=first + 1):
            self._batch = index
            yield batch
        self._epoch += 1
        self._batch = 0

    # ---- epochs and resuming, by the names that Lightning looks for

    batch_sampler = None

    @property
    def sampler(self) -> "BatchLoader | SequentialSampler":
        """Itself, shuffled: Lightning calls ``loader.sampler.set_epoch``. In order, one that says so and tells this."""
        return self if self.shuffle else _InOrder(self)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order of `epoch`; drops a resumed position that belongs to another epoch."""
        if epoch != self._epoch:
            self._epoch, self._batch, self._resumed = epoch, 0, None

    def state_dict(self) -> dict[str, Any]:
        """Epoch, batches already yielded in it, and what the order depends on."""
        return {"epoch": self._epoch, "batch": self._batch, "order": self._order()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues after the batch at which `state` was taken.

        Raises:
            ValueError: The state belongs to other data, another batch size, seed or number of processes.
        """
        if state["order"] != self._order():
            raise ValueError(
                f"The checkpoint stopped in the middle of an epoch over {state['order']}; "
                f"this loader has {self._order()}. "
                "Resume with the same data, batch size, seed and number of processes, or start from the weights alone."
            )
        self._epoch, self._batch = state["epoch"], state["batch"]
        self._resumed = self._batch

    def _order(self) -> dict[str, Any]:
        names = ("rows", "batch_size", "world_size", "shuffle", "seed")
        return {name: getattr(self, name) for name in names}

    # ---- rows

    _keeps = True
    """Whether batches can be cut where the model trains."""

    @property
    def _lies(self) -> torch.device:
        """Where batches are cut."""
        return next(iter(self._cut.values())).device

    def _share(self, start: int, stop: int) -> tuple[int, int]:
        """This process's part of the positions [start, stop): contiguous, sizes differ by at most one."""
        n = stop - start
        return start + n * self.rank // self.world_size, start + n * (self.rank + 1) // self.world_size

    def _in_order(self, first: int) -> Iterator[dict[str, Tensor]]:
        start, stop = self._share(0, self.rows)
        for index in range(first, len(self)):
            begin = min(start + index * self.batch_size, stop)
            end = min(begin + self.batch_size, stop)
            rows = torch.arange(begin, end, device=self._lies)
            yield {name: column[begin:end] for name, column in self._cut.items()} | {"row": rows}

    def _shuffled(self, first: int) -> Iterator[dict[str, Tensor]]:
        size = self.batch_size * self.world_size
        done = first * size
        rest = torch.empty(0, dtype=torch.int64, device=self._lies)
        for window in self._windows():
            if done >= len(window):
                done -= len(window)
                continue
            rest = torch.cat([rest, window[done:].to(self._lies)])
            done = 0
            whole = len(rest) // size * size
            for begin in range(0, whole, size):
                yield self._take(rest[begin : begin + size])
            rest = rest[whole:]
        if len(rest):
            yield self._take(rest)

    def _take(self, positions: Tensor) -> dict[str, Tensor]:
        start, stop = self._share(0, len(positions))
        rows = positions[start:stop]
        return {name: column.index_select(0, rows) for name, column in self._cut.items()} | {"row": rows}

    def _windows(self) -> Iterator[Tensor]:
        """The epoch's order, int64, a window at a time."""
        generator = torch.Generator().manual_seed(_mix(self.seed, self._epoch))
        if self.rows <= WINDOW:
            yield torch.randperm(self.rows, generator=generator)
            return
        chunks = torch.randperm(-(-self.rows // CHUNK), generator=generator)
        for some in chunks.split(WINDOW // CHUNK):
            rows = (some.unsqueeze(1) * CHUNK + torch.arange(CHUNK)).flatten()
            rows = rows[rows < self.rows]
            yield rows[torch.randperm(len(rows), generator=generator)]


class _InOrder(SequentialSampler):
    """What Lightning takes for rows in order, and tells the epoch like any other."""

    def __init__(self, loader: BatchLoader) -> None:
        super().__init__(range(loader.rows))
        self.set_epoch = loader.set_epoch


def _mix(seed: int, epoch: int) -> int:
    """One 63-bit seed for every (seed, epoch), so that neighbouring seeds share no epoch."""
    return (seed * 0x9E3779B97F4A7C15 + epoch * 0xBF58476D1CE4E5B9 + 1) % 2**63
