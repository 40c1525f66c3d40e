"""`ResumableModule`: checkpoints that a training goes on from exactly, and the data that a trained model may meet."""

from typing import Any

import lightning as L
import torch

from mtlzoo.callbacks.float64 import check_float64
from mtlzoo.schema import FeatureSchema
from mtlzoo.training import resume
from mtlzoo.training.averaging import WeightAverage, check_averages
from mtlzoo.training.best import BestCheckpoint, keeps_the_last
from mtlzoo.training.evaluated import EvaluatedModule
from mtlzoo.training.identity import DATA, Identity, check_columns, check_meaning, data_columns, identities, noted
from mtlzoo.training.random_states import random_states, restore_random_states
from mtlzoo.training.train_losses import TrainLosses, check_weights


class ResumableModule(EvaluatedModule):
    """What a checkpoint holds beside the weights, and where it may be used.

    A training goes on as if nobody had stopped it (see `mtlzoo.training.resume`), one that diverged is never saved, and
    wherever the model meets data, these must mean the same as those of its training (see `mtlzoo.training.identity`).
    """

    averaging: float
    trained_on: Identity | None = None
    """What is noted of the data of the training; see `mtlzoo.training.identity`."""
    _losses: TrainLosses
    _remedy: str
    """What to do where a loss or weight is not finite."""
    _resumed: dict[str, Any] | None = None
    """What a checkpoint keeps for the start of the training that goes on."""

    # ---- the data, wherever a trained model meets them

    def setup(self, stage: str) -> None:
        """Meets the data.

        Raises:
            ValueError: They mean something else than those of the training, the device has no float64, or
                a callback's average would look up other rows.
        """
        check_float64(type(self).__name__, self.trainer)
        check_averages(self.trainer, self)
        self._meet(getattr(self.trainer, "datamodule", None))
        self._resumed = None

    def on_validation_start(self) -> None:
        """Meets the data, and looks for losses that are not finite, before anything is measured."""
        self._meet(self.trainer.val_dataloaders)
        if not self.trainer.sanity_checking:
            self._losses.means(self.trainer.global_step)

    def _meet(self, sources: Any, *, learning: bool = False) -> None:
        for met in identities(sources):
            check_meaning(type(self).__name__, self.schema, self.trained_on, met)
            if learning:
                self.trained_on = noted(met)

    def on_test_start(self) -> None:
        """Refuses data that mean something else than those of the training."""
        self._meet(self.trainer.test_dataloaders)

    def on_predict_start(self) -> None:
        """Refuses data that mean something else than those of the training."""
        self._meet(self.trainer.predict_dataloaders)

    # ---- checkpoints

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Takes weights over.

        Raises:
            ValueError: They are those of another network, in a line where torch lists every one of them.
        """
        try:
            return super().load_state_dict(*args, **kwargs)
        except RuntimeError as error:
            first = str(error).splitlines()[1:2] or [str(error)]
            said = first[0].strip()
            raise ValueError(f"its weights do not fit {type(self).__name__} with these options: {said[:300]}") from None

    def configure_callbacks(self) -> list[L.Callback]:
        """Averages the weights if asked to, and keeps the best epoch by `monitor` where the Trainer wasn't told.

        Lightning's own choice of an epoch, which this replaces, is the last one. Checkpoints that somebody asked for
        stay as they are, and so does the last epoch where there is no validation.
        """
        trainer = self.trainer
        if trainer.state.fn != "fit":
            return []
        validates = not trainer.fast_dev_run and trainer.enable_validation  # type: ignore[attr-defined]  # set by a connector
        best = [BestCheckpoint(None, *self.monitor)] if validates and keeps_the_last(trainer) else []
        return [*([WeightAverage(self.averaging)] if self.averaging else []), *best]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the class, so that `mtlzoo.load` needs nothing but the file, what resuming needs, and the data's note.

        Raises:
            FloatingPointError: The training has diverged, so that what is there from before is not overwritten.
        """
        where = {"module": type(self).__module__, "class": type(self).__qualname__}
        checkpoint["mtlzoo"] = where | (self._resumed or self._progress())
        if self.trained_on is not None:
            checkpoint[DATA] = dict(self.trained_on)

    def _progress(self) -> dict[str, Any]:
        """What a training needs to go on exactly, beside what Lightning keeps."""
        step = self.trainer.global_step
        self._losses.means(step)
        check_weights(self, step, self._remedy)
        validation: resume.Validation = "none"
        if resume.validation_is_due(self.trainer):
            validation = "done" if self._validated == step else "due"
        return {
            "random": random_states(self.device),
            "losses": self._losses.state_dict(),
            "validation": validation,
            "metrics": {name: float(value) for name, value in self.trainer.callback_metrics.items()},
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Meets the data, puts the counters of a training that goes on in order, and keeps the rest for its start.

        Raises:
            ValueError: The data, or the schema of this model, mean something else than those of the training.
        """
        self.trained_on = checkpoint.get(DATA)
        if self._trainer is not None:
            self._meet(getattr(self._trainer, "datamodule", None))
        trained = FeatureSchema.from_dict(checkpoint["hyper_parameters"]["schema"])
        # Weights go by name: a model of features in another order would take them, and its layers other inputs.
        check_columns("The checkpoint", data_columns(trained), data_columns(self.schema), "checkpoint")
        if self._trainer is not None and self.trainer.state.fn == "fit":
            saved = {key: value for key, value in checkpoint["mtlzoo"].items() if key not in ("module", "class")}
            begins = resume.put_in_order(checkpoint["loops"]["fit_loop"], saved.get("validation", "none"))
            self._resumed = {**saved, "begins": begins}

    def on_fit_start(self) -> None:
        """Forgets a training before this one."""
        self._validated, self._warned = -1, False
        if not self.trainer.global_step:
            self._losses.clear()

    def on_train_start(self) -> None:
        """Notes the data, and continues a checkpoint's random numbers, sums and metrics."""
        self._meet(self.trainer.train_dataloader, learning=True)
        if self._resumed is None:
            return
        saved, self._resumed = self._resumed, None
        restore_random_states(saved["random"], self.device, self.global_rank)
        if "losses" in saved:
            self._losses.load_state_dict(saved["losses"], self.device, self.global_rank)
        # For callbacks that look at the last validation when its epoch ends.
        self.trainer.callback_metrics.update({name: torch.tensor(v) for name, v in saved.get("metrics", {}).items()})
        if saved["begins"]:
            resume.begin_epoch(self.trainer)
