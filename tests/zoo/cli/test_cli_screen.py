"""What a terminal of 80 columns shows."""

import io
import re
from typing import Any

import lightning as L
import pytest

from mtlzoo import SharedBottom
from mtlzoo.cli.metrics_table import print_metrics
from mtlzoo.cli.screen import OneLineBar, RunSize
from mtlzoo.datamodules import Synthetic
from mtlzoo.tasks import Task

QUIET: dict[str, Any] = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_model_summary": False,
    "accelerator": "cpu",
}


@pytest.mark.filterwarnings("ignore:The number of training batches")
def test_bar_is_one_line_with_train_loss_and_score(caplog: pytest.LogCaptureFixture) -> None:
    screen = io.StringIO()
    bar = OneLineBar()
    bar._console_kwargs = {"file": screen, "width": 80, "force_terminal": True, "color_system": None}
    data = Synthetic(rows=2000, users=50, batch_size=128)
    trainer = L.Trainer(max_epochs=11, limit_train_batches=2, log_every_n_steps=1, callbacks=[bar, RunSize()], **QUIET)
    trainer.fit(SharedBottom(data.schema, embedding_dim=4), data)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    last = [line for line in re.split(r"[\r\n]+", shown) if line.strip()][-1]
    assert len(last.rstrip()) <= 80
    assert re.search(r"^Epoch 10/10 .* 2/2 .*train/loss: \d\.\d{4} val/auc_mean: 0\.\d{4}", last)
    assert "SharedBottom: " in caplog.text


@pytest.mark.parametrize("everything", [False, True])
def test_results_table_fits_unless_all_metrics_are_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *, everything: bool
) -> None:
    names = ["click", "a_name_that_is_much_longer_than_what_people_call_their_tasks_most_of_the_time"]
    metrics = ("calibration", "ece", "auc", "pr_auc", "logloss", "accuracy", "f1", "gauc_impressions", "gauc_positives")
    model = SharedBottom(Synthetic(rows=2000, users=50).schema)
    monkeypatch.setattr(model, "schema", type("Schema", (), {"tasks": [Task(name) for name in names]}))
    trainer = L.Trainer(**QUIET)
    found = {f"test/{name}/{metric}": 0.125 for name in names for metric in metrics}
    monkeypatch.setattr("mtlzoo.cli.metrics_table.stage_metrics", lambda trainer: found)
    print_metrics(trainer, model, everything=everything)
    printed = capsys.readouterr().out
    assert (max(map(len, printed.splitlines())) <= 80) != everything
    assert ("calibration" in printed) == everything
    assert all(name in printed for name in ("auc", "gauc", "logloss", "pr_auc"))
