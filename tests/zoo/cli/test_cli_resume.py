"""A checkpoint is resumed and tested as it was made: traps T2, T5 and T6 of LightningCLI, kills, moved folders."""

import csv
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import yaml
from ranks import fork

from mtlzoo import MMoE
from mtlzoo.cli import main
from mtlzoo.cli.checkpoints import AtomicCheckpointIO, BestCheckpoint, LastCheckpoint
from mtlzoo.cli.fit import ZooCLI

Run = Callable[..., str]
RUN = Path("runs/Synthetic-MMoE-s0/version_0")


def weights(folder: Path, which: str = "last") -> dict[str, torch.Tensor]:
    checkpoint = torch.load(folder / f"checkpoints/{which}.ckpt", weights_only=True)
    return {**checkpoint["state_dict"], **_tensors("optimizer", checkpoint["optimizer_states"])}


def _tensors(name: str, value: Any) -> dict[str, torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return {name: value}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    return {key: tensor for place, item in items for key, tensor in _tensors(f"{name}.{place}", item).items()}


def assert_identical(actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert actual.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(actual[name], tensor), name


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


LONGER = [
    "--model.dropout",
    "0.2",
    "--patience",
    "null",
    "--trainer.max_epochs",
    "3",
    "--trainer.log_every_n_steps",
    "5",
]


@pytest.fixture(scope="module")
def whole(options: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of `LONGER` that nothing interrupts."""
    root = tmp_path_factory.mktemp("whole")
    main(["fit", *options, *LONGER, "--trainer.default_root_dir", str(root)])
    return root / "Synthetic-MMoE-s0" / "version_0"


class PowerCutError(Exception):
    """What a kill is to the process itself."""


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model.lr", "0.5"], ("lr: command line or config 0.5, checkpoint 0.001", "mtlzoo.load")),
        (["--model", "SharedBottom"], ("holds a MMoE, the command line or config says SharedBottom",)),
    ],
)
def test_a_checkpoint_never_overrules_the_command_line(
    trained: Path, options: list[str], run: Run, command: str, words: list[str], said: tuple[str, ...]
) -> None:
    if words[0] == "--model":  # without the options that only MMoE has
        options = options[options.index("--data") :]
    printed = run(command, *options, *words, "--ckpt_path", str(trained / "checkpoints/best.ckpt"), code=2)
    assert all(part in printed for part in said)
    assert not Path("runs").exists()


def test_a_config_counts_as_said_and_agreeing_options_pass(trained: Path, run: Run, tmp_path: Path) -> None:
    config = yaml.safe_load((trained / "config.yaml").read_text())
    run("test", "-c", str(trained / "config.yaml"), "--model.lr", "0.001", "--model.expert_units", "[8]")
    config["model"]["init_args"]["embedding_dim"] = 8
    Path("other.yaml").write_text(yaml.dump(config))
    best = str(trained / "checkpoints/best.ckpt")
    assert "embedding_dim: command line or config 8, checkpoint 4" in run(
        "test", "-c", "other.yaml", "--ckpt_path", best, code=2
    )


def test_options_that_are_not_said_come_from_the_checkpoint(trained: Path, data_options: list[str]) -> None:
    best = str(trained / "checkpoints/best.ckpt")
    cli = ZooCLI(["test", "--model", "MMoE", *data_options, "--ckpt_path", best])
    assert isinstance(cli.model, MMoE)
    assert len(cli.model.experts) == 2
    assert cli.options.model.init_args.embedding_dim == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--data.tasks", "2"], "tasks: checkpoint [{'name': 'is_like'"),
        (["--data.users", "120"], "features: checkpoint [{'name': 'user_id'"),
    ],
)
def test_data_that_the_model_was_not_made_for_is_refused(
    trained: Path, options: list[str], run: Run, words: list[str], said: str
) -> None:
    best = str(trained / "checkpoints/best.ckpt")
    assert said in run("test", *options, *words, "--ckpt_path", best, code=2).replace("author_id", "user_id")


def test_data_whose_ids_mean_other_values_are_refused(trained: Path, options: list[str], run: Run) -> None:
    """Tables of equal sizes tell nothing of that."""
    checkpoint = torch.load(trained / "checkpoints/best.ckpt", weights_only=True)
    checkpoint["mtlzoo_data"]["vocabulary"] = "of other rows"
    torch.save(checkpoint, "other.ckpt")
    assert "whose ids mean other values" in run("test", *options, "--ckpt_path", "other.ckpt", code=2)


def test_a_schema_that_lacks_what_came_later_is_read(trained: Path, options: list[str], run: Run) -> None:
    """Links among users and items are newer than the first checkpoints."""
    checkpoint = torch.load(trained / "checkpoints/best.ckpt", weights_only=True)
    del checkpoint["hyper_parameters"]["schema"]["links"]
    torch.save(checkpoint, "early.ckpt")
    run("test", *options, "--ckpt_path", "early.ckpt")


def test_what_is_no_checkpoint_of_ours_is_refused(trained: Path, options: list[str], run: Run) -> None:
    torch.save({"state_dict": {}}, "foreign.ckpt")
    assert "not a checkpoint of an mtlzoo model" in run("test", *options, "--ckpt_path", "foreign.ckpt", code=2)
    assert "there is no checkpoint gone.ckpt" in run("test", *options, "--ckpt_path", "gone.ckpt", code=2)
    assert "there is no checkpoint" in run("test", *options, code=2)


def test_weights_alone_are_tested_but_not_resumed(trained: Path, options: list[str], run: Run) -> None:
    checkpoint: Any = torch.load(trained / "checkpoints/best.ckpt", weights_only=True)
    for part in ("optimizer_states", "lr_schedulers", "callbacks", "loops"):
        del checkpoint[part]
    torch.save(checkpoint, "weights.ckpt")
    assert "holds weights alone" in run("fit", *options, "--ckpt_path", "weights.ckpt", code=2)
    run("validate", *options, "--ckpt_path", "weights.ckpt")


@pytest.mark.parametrize("stop", [("step", 7), ("step", 10), ("step", 23), ("max_steps", 17), ("max_steps", 20)])
def test_a_resumed_training_ends_as_an_uninterrupted_one(
    whole: Path, options: list[str], run: Run, monkeypatch: pytest.MonkeyPatch, stop: tuple[str, int]
) -> None:
    """Bit-identical weights and optimiser state, all that was logged; stopped within, and at the end of, an epoch."""
    words = ["fit", *options, *LONGER, "--checkpoint_every", "2"]
    if stop[0] == "max_steps":
        run(*words, "--trainer.max_steps", str(stop[1]))
    else:
        save = LastCheckpoint.on_train_batch_end

        def cut(self: LastCheckpoint, trainer: L.Trainer, *rest: Any) -> None:
            save(self, trainer, *rest)
            if trainer.global_step == stop[1]:
                raise PowerCutError

        with monkeypatch.context() as patch:
            patch.setattr(LastCheckpoint, "on_train_batch_end", cut)
            with pytest.raises(PowerCutError):
                main(words)
    torch.manual_seed(123)
    limits = ["--trainer.max_steps", "-1" if stop[1] % 2 else "1000"]
    run("fit", "-c", str(RUN / "config.yaml"), *limits, "--ckpt_path", "last")
    assert_identical(weights(RUN), weights(whole))
    assert_identical(weights(RUN, "best"), weights(whole, "best"))
    assert rows(RUN) == rows(whole)
    assert yaml.safe_load((RUN / "config.yaml").read_text())["ckpt_path"] is None
    assert [path.name for path in RUN.parent.iterdir()] == ["version_0"]


def test_the_best_score_survives_a_move_of_the_folder(trained: Path, run: Run) -> None:
    moved = Path(shutil.copytree(trained, "elsewhere/version_5"))
    before = weights(moved, "best")
    words = ["--ckpt_path", str(moved / "checkpoints/last.ckpt"), "--trainer.max_epochs", "3"]
    run("fit", "-c", str(moved / "config.yaml"), *words, "--trainer.limit_train_batches", "1")
    score = next(
        state["best_model_score"]
        for name, state in torch.load(moved / "checkpoints/last.ckpt", weights_only=True)["callbacks"].items()
        if name.startswith("BestCheckpoint")
    )
    best = max(float(row["val/auc_mean"]) for row in rows(moved) if row["val/auc_mean"])
    assert float(score) == pytest.approx(best)
    scores = [row["val/auc_mean"] for row in rows(moved) if row["val/auc_mean"]]
    assert len(scores) == 3
    if float(scores[-1]) < best:
        assert_identical(weights(moved, "best"), before)


def test_a_cut_while_writing_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"step": 1}, path)

    def half(checkpoint: Any, file: Any) -> None:
        file.write(b"PK")
        raise PowerCutError

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(PowerCutError):
        AtomicCheckpointIO().save_checkpoint({"step": 2}, path)
    assert torch.load(path, weights_only=True) == {"step": 1}
    monkeypatch.undo()
    AtomicCheckpointIO().save_checkpoint({"step": 3}, path)
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_checkpoints_go_through_it(options: list[str], run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    save = AtomicCheckpointIO.save_checkpoint

    def noted(self: AtomicCheckpointIO, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        written.append(Path(path).name)
        save(self, checkpoint, path, storage_options)

    monkeypatch.setattr(AtomicCheckpointIO, "save_checkpoint", noted)
    run("fit", *options, "--trainer.max_epochs", "1", "--checkpoint_every", "4")
    assert written == ["last.ckpt", "last.ckpt", "best.ckpt", "last.ckpt"]


def test_best_checkpoint_before_anything_was_saved(tmp_path: Path) -> None:
    """A training that stops before its first validation has no best score to go on from."""
    state = BestCheckpoint(tmp_path / "a", "val/auc_mean", "max").state_dict()
    again = BestCheckpoint(tmp_path / "b", "val/auc_mean", "max")
    again.load_state_dict(state)
    assert again.best_model_score is None
    assert again.best_k_models == {}


@pytest.mark.slow
def test_kill_9_in_the_middle_of_an_epoch(options: list[str], run: Run, tmp_path: Path) -> None:
    words = ["fit", *options, "--patience", "null", "--trainer.max_epochs", "15", "--model.dropout", "0.1"]
    run(*words, "--trainer.default_root_dir", "whole")
    process = fork("mtlzoo", *words, "--checkpoint_every", "1", log=tmp_path / "log")
    last = RUN / "checkpoints/last.ckpt"
    until = time.monotonic() + 120
    while not last.exists() and process.is_alive() and time.monotonic() < until:
        time.sleep(0.005)
    time.sleep(0.3)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL, (tmp_path / "log").read_text()
    reached = torch.load(last, weights_only=True)["global_step"]
    assert 0 < reached < 150
    run("fit", "-c", str(RUN / "config.yaml"), "--ckpt_path", "last")
    assert_identical(weights(RUN), weights(Path("whole/Synthetic-MMoE-s0/version_0")))
