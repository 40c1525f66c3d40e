"""How long the tasks' gradients are, group by group: what a temperature on norms must be held against."""

from collections.abc import Sequence

import lightning as L
import torch
from torch import Tensor

from mtlzoo.callbacks.lightning_seams import log, log_every_n_steps, logged_step, more_follows

QUANTILES = {"q10": 0.1, "q50": 0.5, "q90": 0.9}


class NormLog:
    """Logs quantiles of the tasks' norms every `log_every_n_steps` of the trainer.

    ``surgery/log_norm/<task>/q10``, ``/q50`` and ``/q90`` are quantiles of the log10 of the task's gradient norms, over
    the groups of the last step in which the task has a gradient. A task without any is not logged.

    Args:
        names: Of the tasks.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self._seen: Tensor | None = None

    def log(self, trainer: L.Trainer, gramians: Tensor | None) -> None:
        """Logs at the end of a batch, if it is time and there are Gramians that were not logged.

        Args:
            trainer: Its loggers get the numbers, as do its `callback_metrics`.
            gramians: [G, T, T] in float64; the host waits for them only when it logs.
        """
        every = log_every_n_steps(trainer)
        if not every or (logged_step(trainer) + 1) % every or more_follows(trainer):
            return
        if gramians is None or gramians is self._seen:
            return
        self._seen = gramians
        found = log_norm_quantiles(gramians, list(QUANTILES.values())).tolist()
        values: dict[str, float] = {
            f"surgery/log_norm/{name}/{key}": value
            for name, numbers in zip(self.names, found, strict=True)
            for key, value in zip(QUANTILES, numbers, strict=True)
            if value == value
        }
        log(trainer, values)


def log_norm_quantiles(gramians: Tensor, shares: Sequence[float]) -> Tensor:
    """Quantiles of the log10 of the norms by task, between two norms by straight lines.

    Args:
        gramians: [G, T, T].
        shares: Which quantiles, 0 to 1.

    Returns:
        [T, len(shares)]; NaN for a task without gradient, or with one that is not finite.
    """
    squares = gramians.diagonal(dim1=1, dim2=2).double()
    # By hand, for `torch.quantile` takes 16 million numbers at most. Groups without gradient come first: -inf.
    ordered = (squares.log10() / 2).sort(0).values
    silent = (squares == 0).sum(0)
    touched = len(squares) - silent
    share = torch.tensor(shares, dtype=torch.float64, device=squares.device)[:, None]
    place = silent + share * (touched - 1).clamp_min(0)
    below = place.floor().long().clamp_max(len(squares) - 1)
    above = (below + 1).clamp_max(len(squares) - 1)
    quantiles = torch.lerp(ordered.gather(0, below), ordered.gather(0, above), place - below)
    return torch.where((touched > 0) & squares.isfinite().all(0), quantiles, torch.nan).T
