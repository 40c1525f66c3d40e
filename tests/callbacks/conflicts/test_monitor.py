"""`ConflictMonitor` against cosines computed by hand, and the files it writes."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from chosen_device import ACCELERATOR
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from recorder import Gallery, Recorder
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mtlzoo.callbacks import ConflictMonitor, GradientSurgery, LossBalancing, rules
from mtlzoo.callbacks.conflicts.facts import ConflictMeans, facts_of_step
from mtlzoo.callbacks.heat_map import heat_map, pixels
from mtlzoo.datamodules.loading import BatchLoader

TASKS = 3


class Linear(L.LightningModule):
    """The gradients of the tasks are what the batch says, for a vector and for rows of a table."""

    def __init__(self) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.zeros(4))
        self.table = nn.Embedding(5, 2)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Any:
        rows = self.table(torch.arange(3, device=self.device))
        a, b = batch["vector"].reshape(TASKS, 4), batch["rows"].reshape(TASKS, 3, 2)
        return {"loss": torch.stack([self.vector @ a[t] + (rows * b[t]).sum() for t in range(TASKS)])}

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def batches(steps: int) -> dict[str, Tensor]:
    """Gradients by step: [steps, T, 4] and [steps, T, 3, 2]; a task without any in some steps or rows."""
    g = torch.Generator().manual_seed(0)
    vector = torch.randn(steps, TASKS, 4, generator=g, dtype=torch.float64)
    rows = torch.randn(steps, TASKS, 3, 2, generator=g, dtype=torch.float64)
    rows[:, 2, 1] = 0
    vector[1, 0] = rows[1, 0] = 0
    return {"vector": vector, "rows": rows}


def fit(folder: Path, *callbacks: L.Callback, steps: int = 5, **options: Any) -> L.Trainer:
    data = batches(steps)
    loader: Any = DataLoader([{k: v[i] for k, v in data.items()} for i in range(steps)], batch_size=None)  # type: ignore[arg-type]
    defaults: dict[str, Any] = {
        "max_epochs": 1,
        "accelerator": ACCELERATOR,
        "devices": 1,
        "precision": "64-true",
        "default_root_dir": folder,
        "log_every_n_steps": 1,
        **dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False),
    }
    trainer = L.Trainer(**(defaults | options), callbacks=list(callbacks))
    trainer.fit(Linear(), loader)
    return trainer


def groups(step: int, level: str, steps: int = 5) -> list[np.ndarray]:
    """Gradients [T, n] by group of a level."""
    data = {name: value[step].numpy(force=True) for name, value in batches(steps).items()}
    vector, rows = data["vector"], data["rows"]
    if level == "model":
        return [np.concatenate([vector, rows.reshape(TASKS, -1)], 1)]
    return [vector, *(rows[:, i] for i in range(3))] if level == "row" else [vector, rows.reshape(TASKS, -1)]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) if a.any() and b.any() else math.nan


def by_hand(steps: list[int], level: str, weights: list[float]) -> dict[str, float]:
    values: dict[str, float] = {}
    for a in range(TASKS):
        for b in range(a + 1, TASKS):
            totals = [cosine(g[a], g[b]) for step in steps for g in groups(step, "model")]
            parts = np.array([cosine(g[a], g[b]) for step in steps for g in groups(step, level)])
            values[f"surgery/cosine/{a}_vs_{b}"] = float(np.nanmean(totals))
            values[f"surgery/conflict/{a}_vs_{b}"] = float((parts[~np.isnan(parts)] < 0).mean())
        norms = [float(np.linalg.norm(g[a])) for step in steps for g in groups(step, "model")]
        values[f"surgery/norm/{a}"] = float(np.mean([norm for norm in norms if norm]))
        values[f"surgery/weight/{a}"] = weights[a]
    return values


@pytest.mark.parametrize("level", ["model", "parameter", "row"])
def test_numbers_are_those_computed_by_hand(tmp_path: Path, level: Any) -> None:
    recorder = Recorder()
    surgery = GradientSurgery(rules.Fixed([0.5, 1.0, 2.0]), level=level)
    trainer = fit(tmp_path, surgery, ConflictMonitor(every_n_steps=2), logger=recorder)
    logged = recorder.of("surgery/")
    assert [step for step, _ in logged] == [1, 3]  # and nothing in between
    for (_, values), steps in zip(logged, ([0, 1], [2, 3]), strict=True):
        wanted = by_hand(steps, level, [0.5, 1.0, 2.0])
        assert values == pytest.approx(wanted, rel=1e-12)
    assert trainer.callback_metrics["surgery/cosine/0_vs_1"] == pytest.approx(logged[1][1]["surgery/cosine/0_vs_1"])


@pytest.mark.parametrize(("every", "expected"), [(50, [4, 9]), (7, [4, 6, 13]), (3, [2, 5, 8])])
def test_an_epoch_that_is_short_is_logged_too(tmp_path: Path, every: int, expected: list[int]) -> None:
    """At its end, over all steps since the last time."""
    recorder = Recorder()
    epochs = 3 if every == 7 else 2
    fit(tmp_path, GradientSurgery(rules.Sum()), ConflictMonitor(every), logger=recorder, max_epochs=epochs)
    assert [step for step, _ in recorder.of("surgery/")] == expected


def test_weights_of_groups_are_those_in_the_direction_of_the_task() -> None:
    gradients = [torch.randn(TASKS, 4, dtype=torch.float64) for _ in range(2)]
    gramians, weights = torch.stack([g @ g.T for g in gradients]), torch.rand(2, TASKS, dtype=torch.float64)
    means = ConflictMeans(facts_of_step(gramians, weights))
    own = torch.cat(gradients, 1)
    kept = torch.cat([w[:, None] * g for w, g in zip(weights, gradients, strict=True)], 1)
    torch.testing.assert_close(torch.tensor(means.weight).double(), (own * kept).sum(1) / (own * own).sum(1))


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_scale_does_not_matter(scale: float) -> None:
    g = torch.randn(TASKS, 4, dtype=torch.float64)
    one, other = (ConflictMeans(facts_of_step((c * g @ g.T * c)[None], torch.ones(1, TASKS))) for c in (1.0, scale))
    np.testing.assert_allclose(one.cosine, other.cosine, rtol=1e-12)
    assert one.conflict == other.conflict
    np.testing.assert_allclose(other.norm, np.array(one.norm) * scale, rtol=1e-12)


def test_what_nothing_counts_for_is_not_logged(tmp_path: Path) -> None:
    recorder = Recorder()
    fit(tmp_path, GradientSurgery(rules.Sum()), ConflictMonitor(1), logger=recorder, steps=2)
    names = set(recorder.of("surgery/")[1][1])  # the step in which the first task has no gradient
    assert names == {
        *("surgery/cosine/1_vs_2", "surgery/conflict/1_vs_2", "surgery/norm/1", "surgery/norm/2"),
        *("surgery/weight/1", "surgery/weight/2"),
    }


def test_a_step_that_overflowed_counts_nothing() -> None:
    gramians = torch.eye(TASKS, dtype=torch.float64)[None]
    assert not facts_of_step(gramians * torch.inf, torch.ones(1, TASKS)).any()
    assert not facts_of_step(gramians, torch.full((1, TASKS), torch.nan)).any()


def test_steps_that_reuse_weights_count_once(tmp_path: Path) -> None:
    recorder = Recorder()
    fit(tmp_path, GradientSurgery(rules.Sum(), every_n_steps=3), ConflictMonitor(5), logger=recorder)
    ((step, values),) = recorder.of("surgery/")
    assert step == 4
    wanted = by_hand([0, 3], "model", [1.0] * 3)
    assert values == pytest.approx(wanted, rel=1e-12)


def test_accumulated_steps_count_once(tmp_path: Path) -> None:
    recorder = Recorder()
    fit(
        tmp_path,
        GradientSurgery(rules.Sum()),
        ConflictMonitor(1),
        logger=recorder,
        steps=4,
        accumulate_grad_batches=2,
    )
    logged = recorder.of("surgery/")
    assert [step for step, _ in logged] == [0, 1]
    g = groups(2, "model", 4)[0] + groups(3, "model", 4)[0]
    assert logged[1][1]["surgery/cosine/0_vs_1"] == pytest.approx(cosine(g[0], g[1]))


# ---- files


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_table_and_pictures_are_in_the_log_folder(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, name="run")
    surgery = GradientSurgery(rules.PCGrad(), tasks=["click", "like", "buy"])
    fit(tmp_path, surgery, ConflictMonitor(2), logger=logger, max_epochs=2)
    folder = tmp_path / "run/version_0"
    table = rows_of(folder / "conflicts.csv")
    assert table[0] == ["step", "task_a", "task_b", "cosine", "conflict_rate"]
    assert [row[:3] for row in table[1:4]] == [["1", "click", "like"], ["1", "click", "buy"], ["1", "like", "buy"]]
    assert [row[0] for row in table[1::3]] == ["1", "3", "5", "7", "9"]
    wanted = by_hand([0, 1], "model", [1.0] * 3)
    assert float(table[1][3]) == pytest.approx(wanted["surgery/cosine/0_vs_1"])
    assert float(table[1][4]) == pytest.approx(wanted["surgery/conflict/0_vs_1"])
    pictures = sorted(path.name for path in folder.glob("*.png"))
    assert pictures == ["conflicts-epoch0.png", "conflicts-epoch1.png", "conflicts.png"]
    assert (folder / "conflicts.png").read_bytes().startswith(b"\x89PNG")
    metrics = rows_of(folder / "metrics.csv")
    assert "surgery/cosine/click_vs_like" in metrics[0]


def test_loggers_that_take_pictures_and_tables_get_them(tmp_path: Path) -> None:
    gallery = Gallery()
    fit(tmp_path, GradientSurgery(rules.Sum()), ConflictMonitor(2), logger=gallery, max_epochs=2)
    assert [(key, step) for key, step, _ in gallery.images] == [
        ("surgery/conflicts_epoch", 5),
        ("surgery/conflicts_epoch", 10),
        ("surgery/conflicts", 10),
    ]
    for _, _, (picture,) in gallery.images:
        assert picture.dtype == np.uint8
        assert picture.shape[2] == 3
        assert picture.std() > 0
    ((key, columns, data),) = gallery.tables
    assert (key, len(data)) == ("surgery/conflict_table", 15)
    assert columns == ["step", "task_a", "task_b", "cosine", "conflict_rate"]
    assert not list(tmp_path.glob("**/*.png"))
    assert len(rows_of(tmp_path / "conflicts.csv")) == 16


@pytest.mark.slow
def test_wandb_gets_pictures_and_table_and_its_runs_keep_apart(tmp_path: Path) -> None:
    logger = WandbLogger(project="zoo", save_dir=tmp_path)
    fit(tmp_path, GradientSurgery(rules.Sum()), ConflictMonitor(2), logger=logger)
    (folder,) = tmp_path.glob(f"zoo/{logger.experiment.id}")
    assert [path.name for path in folder.iterdir()] == ["conflicts.csv"]
    summary = dict(logger.experiment.summary)
    assert summary["surgery/cosine/0_vs_1"] == pytest.approx(
        by_hand([2, 3], "model", [1.0] * 3)["surgery/cosine/0_vs_1"]
    )
    logger.experiment.finish()
    (media,) = tmp_path.glob("wandb/offline-run-*/files/media")
    assert len(list(media.glob("images/surgery/*.png"))) == 2
    (table,) = media.glob("table/surgery/*.table.json")
    assert len(json.loads(table.read_text())["data"]) == 6


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists")
def test_a_resumed_run_goes_on_with_its_table_and_sums(tmp_path: Path) -> None:
    data: Any = batches(10)

    def train(folder: Path, **options: Any) -> ConflictMonitor:
        monitor = ConflictMonitor(2)
        save = ModelCheckpoint(folder / "saved", filename="{step}", every_n_train_steps=1, save_top_k=-1)
        quiet: dict[str, Any] = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary"), False)
        trainer = L.Trainer(
            default_root_dir=folder,
            max_epochs=2,
            accelerator=ACCELERATOR,
            callbacks=[GradientSurgery(rules.Sum()), monitor, save],
            **quiet,
        )
        loader: Any = BatchLoader(data, 1)
        trainer.fit(Linear().double(), loader, **options)
        return monitor

    whole = train(tmp_path)
    wanted, picture = rows_of(tmp_path / "conflicts.csv"), (tmp_path / "conflicts.png").read_bytes()
    assert len(wanted) == 31
    for step in (4, 7, 10, 15):
        again = train(tmp_path, ckpt_path=tmp_path / f"saved/step={step}.ckpt")
        assert rows_of(tmp_path / "conflicts.csv") == wanted
        assert (tmp_path / "conflicts.png").read_bytes() == picture
        assert torch.equal(again.state_dict()["sums"]["fit"], whole.state_dict()["sums"]["fit"])
    train(tmp_path)
    assert rows_of(tmp_path / "conflicts.csv") == wanted  # a new run begins a new table


def test_heat_map_leaves_unknown_cosines_empty() -> None:
    picture = heat_map([[1.0, math.nan], [math.nan, 1.0]], ["a", "b"], "title")
    assert [text.get_text() for text in picture.axes[0].texts] == ["1.00", "1.00"]
    assert [text.get_text() for text in picture.axes[0].get_xticklabels()] == ["a", "b"]
    assert pixels(picture).shape[2] == 3


# ---- refusals


@pytest.mark.parametrize("others", [[], [LossBalancing(rules.UW())]])
def test_no_surgery_is_refused(tmp_path: Path, others: list[L.Callback]) -> None:
    with pytest.raises(ValueError, match=r"GradientSurgery\(Sum\(\)\)"):
        fit(tmp_path, ConflictMonitor(), *others)


def test_a_rule_without_gramian_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="GradDrop works on the gradients themselves"):
        fit(tmp_path, GradientSurgery(rules.GradDrop()), ConflictMonitor())


def test_no_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="every_n_steps=0"):
        ConflictMonitor(0)
