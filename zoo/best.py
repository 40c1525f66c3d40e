"""Where configs that were written before name `BestCheckpoint`; it is in `mtlzoo.training.best`."""

from mtlzoo.training.best import BestCheckpoint as BestCheckpoint
