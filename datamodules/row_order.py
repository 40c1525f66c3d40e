"""`SeededOrder`: which seed the order of rows has, and that a training goes on with the one that it began with."""

import os
from typing import Any

import lightning as L


class SeededOrder(L.LightningDataModule):
    """The seed of row order and draws: `shuffle_seed` or, where that is None, the one that the training was given.

    That is the seed of ``L.seed_everything``, which the command line calls, and 0 where nobody called it; as Lightning
    does for its own samplers. It is read when a training begins, the first process's for all, and kept in checkpoints:
    a training that goes on has the order that it began with, whatever the seed of its process.
    """

    shuffle_seed: int | None = None
    _taken: int | None = None

    @property
    def order_seed(self) -> int:
        """Seed of the row order and of what is drawn beside rows."""
        if self.shuffle_seed is not None:
            return self.shuffle_seed
        return given_seed() if self._taken is None else self._taken

    def setup(self, stage: str | None = None) -> None:
        """Takes the seed of a training."""
        if stage == "fit":
            self._taken = self.trainer.strategy.broadcast(given_seed()) if self.trainer else None

    def state_dict(self) -> dict[str, Any]:
        """The seed, for a checkpoint."""
        return {"order_seed": self.order_seed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on with a checkpoint's seed; `shuffle_seed` stays what it is."""
        self._taken = state_dict["order_seed"]


def given_seed() -> int:
    """The seed that ``L.seed_everything`` was last called with; 0 without one."""
    return int(os.environ.get("PL_GLOBAL_SEED", "0"))
