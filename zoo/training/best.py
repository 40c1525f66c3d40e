"""`BestCheckpoint`: the weights with the best score on the validation split."""

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from mtlzoo.training.resume import validation_is_due


class BestCheckpoint(ModelCheckpoint):
    """Keeps the weights with the best score; as long as no validation has had a score, those of the last one.

    A score that is not defined never becomes the best, nor does that of the validation which Lightning adds where a
    training is told to stop within an epoch.

    Args:
        folder: Folder of ``best.ckpt``; None leaves folder and name (``epoch=3-step=40.ckpt``) to Lightning.
        monitor: Name of the score.
        mode: Whether it should be small or large.
    """

    def __init__(self, folder: Path | None, monitor: str, mode: str) -> None:
        super().__init__(
            folder,
            "best" if folder else None,
            monitor,
            mode=mode,
            save_on_train_epoch_end=False,
            enable_version_counter=folder is None,
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from the best score so far, also where the run folder has moved since."""
        # A run takes no path of the file over: what is no longer the best is deleted.
        moved = {**state_dict, "dirpath": self.dirpath, "last_model_path": "", "best_k_models": {}}
        moved |= {"kth_best_model_path": ""}
        if state_dict["best_model_path"]:
            path = str(Path(self.dirpath or "", Path(state_dict["best_model_path"]).name))
            if self.filename is None and not Path(path).is_file():  # a Trainer of its own has a new folder
                path = state_dict["best_model_path"]
            moved |= {"best_model_path": path}
            if state_dict["best_model_score"] is not None:
                moved |= {"kth_best_model_path": path, "best_k_models": {path: state_dict["best_model_score"]}}
        super().load_state_dict(moved)

    def _save_topk_checkpoint(self, trainer: L.Trainer, monitor_candidates: dict[str, Tensor]) -> None:
        score = monitor_candidates.get(self.monitor or "")
        if score is not None and score.isfinite() and validation_is_due(trainer):
            super()._save_topk_checkpoint(trainer, monitor_candidates)
        elif self.best_model_score is None:
            self._save_unscored(trainer, monitor_candidates)

    def _save_monitor_checkpoint(self, trainer: L.Trainer, monitor_candidates: dict[str, Tensor]) -> None:
        unscored = self.best_model_path if self.best_model_score is None else ""
        super()._save_monitor_checkpoint(trainer, monitor_candidates)
        self._replace(trainer, unscored)

    def _save_unscored(self, trainer: L.Trainer, monitor_candidates: dict[str, Tensor]) -> None:
        before = self.best_model_path
        self.best_model_path = self._get_metric_interpolated_filepath_name(monitor_candidates, trainer, before)
        self._save_checkpoint(trainer, self.best_model_path)
        self._replace(trainer, before)

    def _replace(self, trainer: L.Trainer, before: str) -> None:
        if before and self._should_remove_checkpoint(trainer, before, self.best_model_path):
            self._remove_checkpoint(trainer, before)


def keeps_the_last(trainer: L.Trainer) -> bool:
    """Whether a trainer has the one checkpoint that it adds by itself: of the last epoch, without an argument."""
    default = ModelCheckpoint()
    names = ("dirpath", "filename", "save_last", "save_top_k", "save_weights_only", "save_on_exception")
    found = trainer.checkpoint_callbacks
    return (
        len(found) == 1
        and type(found[0]) is ModelCheckpoint
        and found[0].state_key == default.state_key
        and all(getattr(found[0], name) == getattr(default, name) for name in names)
    )
