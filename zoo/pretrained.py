"""`PretrainedModule`: a trained model as a folder that others take, and its answers to raw rows."""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self
from weakref import WeakKeyDictionary

import torch
import yaml
from torch import Tensor, nn

from mtlzoo.saved_model import make
from mtlzoo.training.identity import check_meaning
from mtlzoo.training.optimised import OptimisedModule

# What reads and encodes rows is imported where it is used: a training needs none of it here.

_ENCODERS: WeakKeyDictionary[nn.Module, tuple[Any, Any, int]] = WeakKeyDictionary()
"""What a model's data were when it was last asked, the encoder of rows, and rows of a batch; not in the models, which
are copied and sent to other processes."""
_ASKED = threading.Lock()
"""One prediction at a time: a model is put into another state for it."""


class PretrainedModule(OptimisedModule):
    """What a model is when it is trained: saved with all that answering needs, loaded, asked."""

    loaded_from: Path | None = None
    """Checkpoint or exported folder that the model was loaded from."""

    @classmethod
    def from_pretrained(
        cls,
        folder: str | os.PathLike[str],
        map_location: Any = "cpu",
        *,
        revision: str | None = None,
        token: str | None = None,
        **changes: Any,
    ) -> Self:
        """The model of a folder that `save_pretrained` or ``mtlzoo export`` wrote, in evaluation mode.

        Args:
            folder: The folder or, where there is none, ``user/repo`` on the Hugging Face Hub.
            map_location: Device of the weights.
            revision: Branch, tag or commit on the hub.
            token: Of the hub; the one that its client keeps if None.
            **changes: Constructor arguments that replace the saved ones.

        Raises:
            ValueError: The folder is damaged, incomplete or something else, holds a model of another class, or is
                neither here nor on the hub.
        """
        from mtlzoo.export.folder import read_folder
        from mtlzoo.export.hub import is_name, pull

        place = Path(folder)
        if not place.exists() and is_name(str(folder)):
            place = pull(str(folder), revision=revision, token=token)
        elif not place.is_dir():
            raise ValueError(
                f"{place} is no folder. Give one that mtlzoo export or save_pretrained wrote, or user/repo."
            )
        made = make(read_folder(place), place, cls, map_location, None, **changes)
        made.loaded_from = place.absolute()
        return made

    def save_pretrained(self, folder: str | os.PathLike[str], formats: Sequence[str] = ()) -> None:
        """Writes the folder of ``mtlzoo export``: weights, options, schema, vocabularies, a card.

        Without what its training learned of the data, where these were not of `mtlzoo`: the model loads, and answers no
        raw rows.

        Args:
            folder: New, or of an earlier export that nobody changed.
            formats: For other programs: ``pt2``, ``aoti``, ``onnx``, ``onnx-int8``, ``triton`` (the network
                alone); ``vectors`` (of a ranking).

        Raises:
            ValueError: The folder holds something else, an option of the model is no plain value, or it can't be
                written in a format.
            DatasetNotFoundError: Nothing says any more how the data of its training were encoded.
        """
        from mtlzoo.export.seen import warn_of_none

        if (seen := self.seen) is None:
            warn_of_none(self, str(folder))
        self._write(Path(folder), formats, seen)

    def _write(self, folder: Path, formats: Sequence[str], seen: Any) -> None:
        from mtlzoo.export.folder import write_folder

        encoding = None if self.trained_on is None else self.encoding
        write_folder(folder, self, encoding=encoding, seen=seen, config=self.run_config, metrics={}, formats=formats)

    def push_to_hub(
        self, repo: str, *, private: bool | None = None, token: str | None = None, formats: Sequence[str] = ()
    ) -> str:
        """Writes the folder of `save_pretrained` to the Hugging Face Hub, without what each user has seen in train.

        Args:
            repo: ``user/repo``; made where there is none.
            private: Whether one that is made is private.
            token: Of the hub; the one that its client keeps if None.
            formats: As of `save_pretrained`.

        Returns:
            Address of the repository.

        Raises:
            ValueError: As of `save_pretrained`, or the hub refuses.
        """
        from mtlzoo.export.hub import push

        with TemporaryDirectory() as place:
            folder = Path(place) / "export"
            self._write(folder, formats, seen=None)  # what somebody did is not for the public
            return push(folder, repo, private=private, token=token)

    def predict(self, rows: Any) -> Any:
        """Answers to raw rows, as ``mtlzoo predict`` writes them: the same numbers, batch by batch, in the same order.

        Nothing is written, no label is needed, and no `Trainer`: predictions are in 32 bits (64 of a regression's
        values) on the model's device.

        Args:
            rows: Of pandas, polars or Arrow, a dictionary of columns, or a list of dictionaries; with at least the
                columns of the features.

        Returns:
            In the kind of `rows`, with a column per task: probability, value of a regression, or for multiclass and
            multilabel a list of the probabilities of the classes.

        Raises:
            DataError: Columns that are missing, or values that they may not hold.
            ValueError: The model was not trained on data of mtlzoo.
            DatasetNotFoundError: Nothing says any more how the data of its training were encoded.
        """
        from mtlzoo.datamodules.prepare.given_kind import in_kind

        encoder, size = self._row_encoder()
        batch = {name: torch.from_numpy(values) for name, values in encoder(rows).items()}
        with self._answering():
            predicted = self._answers(batch, size)
        return in_kind(rows, {name: values.numpy() for name, values in predicted.items()})

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Evaluation mode and no gradients, for one thread at a time."""
        with _ASKED, torch.inference_mode():
            trains = self.training
            self.eval()
            try:
                self.on_predict_epoch_start()
                yield
            finally:
                self.on_predict_epoch_end()
                self.train(trains)

    def _answers(self, columns: dict[str, Tensor], size: int) -> dict[str, Tensor]:
        """Predictions of all rows, as many at a time as the command line takes: rounding depends on it."""
        length = len(next(iter(columns.values())))
        parts = []
        for index, start in enumerate(range(0, max(length, 1), size)):
            batch = {name: values[start : start + size].to(self.device) for name, values in columns.items()}
            parts.append({name: values.cpu() for name, values in self.predict_step(batch, index).items()})
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _row_encoder(self) -> tuple[Any, int]:
        """The encoder of rows and rows of a batch, kept while the model is of the same training."""
        from mtlzoo.datamodules.loading.batches import LARGEST
        from mtlzoo.datamodules.prepare.row_encoder import RowEncoder

        known, encoder, size = _ENCODERS.get(self, (None, None, 0))
        if encoder is None or known is not self.trained_on:
            encoding = self.encoding
            met = {"schema": encoding.schema.to_dict(), "fingerprint": encoding.fingerprint, **encoding.identity}
            check_meaning(type(self).__name__, self.schema, self.trained_on, met)
            options = (self.run_config.get("data") or {}).get("init_args") or {}
            encoder = RowEncoder(encoding)
            size = int(options.get("eval_batch_size") or options.get("batch_size") or LARGEST)
            _ENCODERS[self] = self.trained_on, encoder, size
        return encoder, size

    @property
    def encoding(self) -> Any:
        """What the training learned of its data: an `mtlzoo.datamodules.prepare.encoding.Encoding`.

        Raises:
            ValueError: The data were not of mtlzoo, or others lie where they were.
            DatasetNotFoundError: Nothing is there any more.
        """
        from mtlzoo.datamodules.prepare.like import encoding_of

        name = type(self).__name__ if self.loaded_from is None else str(self.loaded_from)
        if self.trained_on is None:
            raise ValueError(
                f"{name} was not trained on data of mtlzoo, so nothing says what its ids and numbers are of raw rows. "
                "Train it with a data module of mtlzoo.datamodules, or call it with batches."
            )
        return encoding_of(self.trained_on, self.loaded_from, name)

    @property
    def seen(self) -> Any:
        """What users have seen in train, in a model of rankings: `mtlzoo.datamodules.prepare.lists.Lists` of items.

        These are the positive interactions, which the metrics leave out. None where the model ranks nothing, or neither
        its folder nor the prepared data of its training say it any more.

        Raises:
            ValueError: Its folder is damaged.
        """
        from mtlzoo.export.seen import find_seen

        return find_seen(self, self.loaded_from)

    @property
    def run_config(self) -> dict[str, Any]:
        """The config of the run that the model is of; empty where none is known."""
        place = self.loaded_from
        if place is None or not (place.is_dir() or place.parent.name == "checkpoints"):
            return {}
        path = (place if place.is_dir() else place.parent.parent) / "config.yaml"
        if not path.is_file():
            return {}
        try:
            config = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is no whole YAML file: {error}") from None
        return config if isinstance(config, dict) else {}
