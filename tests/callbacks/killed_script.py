"""Trains with surgery in processes that are killed, and in ones that resume: ``killed_script.py OUT LEVEL RULE ...``.

For each rule three processes, forked from this one: one trains to the end; one saves a checkpoint and is killed two
steps later (signal 9, in the middle of an epoch); one resumes from that checkpoint. The first and the last write
weights, optimiser and state of the rule to ``OUT/RULE.whole.pt`` and ``OUT/RULE.resumed.pt``; how the processes ended
is in ``OUT/ends.json``.
"""

import json
import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "zoo"))

from train_script import SCHEMA, InMemory

from mtlzoo import MMoE
from mtlzoo.callbacks import GradientSurgery, LossBalancing, rules

SAVED, KILLED, STEPS = 11, 13, 16
OPTIONS: dict[str, dict[str, Any]] = {name: {"weights": [0.5, 1.0, 2.0]} for name in ("Fixed", "FixedWeights")}


class Singles(InMemory):
    """In float32."""

    def on_before_batch_transfer(self, batch: dict[str, torch.Tensor], dataloader_idx: int) -> Any:
        return {name: values.float() if values.is_floating_point() else values for name, values in batch.items()}


class SaveAndDie(L.Callback):
    """Saves after some steps, in the middle of the second epoch, and is killed in a later one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == SAVED:
            trainer.save_checkpoint(self.path)

    def on_before_optimizer_step(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == KILLED:  # the rule has seen this step, the optimiser has not
            os.kill(os.getpid(), signal.SIGKILL)


def train(rule: str, level: Any, out: Path | None, *callbacks: L.Callback, resume: Path | None = None) -> None:
    torch.manual_seed(1)
    model = MMoE(SCHEMA, embedding_dim=4, experts=2, expert_units=[6], tower_units=[4], sparse=level == "row")
    made = getattr(rules, rule)(**OPTIONS.get(rule, {}))
    balancing = isinstance(made, rules.LossRule)
    surgery = LossBalancing(made) if balancing else GradientSurgery(made, level=level)
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=STEPS,
        max_epochs=-1,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[surgery, *callbacks],
    )
    trainer.fit(model, Singles(24), ckpt_path=resume, weights_only=True)
    if out is not None:
        states = {"weights": model.state_dict(), "optimizer": trainer.optimizers[0].state_dict()}
        torch.save(states | {"surgery": surgery.state_dict()}, out)


def forked(run: Callable[[], None]) -> int:
    """How a process that runs this ends: its exit code, or minus the signal that killed it."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        run()
    except BaseException as error:
        print(error, file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def main(out: Path, level: str, names: list[str]) -> None:
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    ends = {}
    for rule in names:
        path = out / f"{rule}.ckpt"
        ends[rule] = [
            forked(lambda: train(rule, level, out / f"{rule}.whole.pt")),  # noqa: B023  # runs before the next rule
            forked(lambda: train(rule, level, None, SaveAndDie(path))),  # noqa: B023
            forked(lambda: train(rule, level, out / f"{rule}.resumed.pt", resume=path)),  # noqa: B023
        ]
    (out / "ends.json").write_text(json.dumps(ends))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
