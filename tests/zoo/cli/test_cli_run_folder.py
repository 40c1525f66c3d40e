"""A run folder is written by one training at a time, never through a link, and stands for no other run."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mtlzoo.cli import run_folder
from mtlzoo.cli.run_folder import named_checkpoint, read_json, taken

Run = Callable[..., str]


@pytest.fixture
def own(trained: Path, tmp_path: Path) -> Path:
    """A run of two epochs that may be changed; its name has what patterns of file names mean."""
    folder = tmp_path / "a [1]* run?" / "version_0"
    shutil.copytree(trained, folder)
    for written in folder.iterdir():  # by commands of other tests
        if written.name not in ("checkpoints", "config.yaml", "encoding", "fit.json", "metrics.csv", ".lock"):
            shutil.rmtree(written) if written.is_dir() else written.unlink()
    return folder


def resume(folder: Path) -> list[str]:
    one_more = ["--trainer.max_epochs", "3", "--trainer.limit_train_batches", "2", "--trainer.limit_val_batches", "1"]
    return ["fit", "-c", str(folder / "config.yaml"), "--ckpt_path", "last", *one_more]


@pytest.mark.slow
def test_links_to_files_are_replaced_and_what_they_point_to_stays(own: Path, run: Run, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    written = ("results.json", "fit.json", "metrics.csv", ".lock", "checkpoints/last.ckpt.part", "results.json.part")
    for name in written:
        (own / name).unlink(missing_ok=True)
        (own / name).symlink_to(victim)
    victim.write_text("precious")
    config = tmp_path / "config.yaml"
    shutil.move(own / "config.yaml", config)
    (own / "config.yaml").symlink_to(config)
    before = config.read_bytes()
    run(*resume(own))
    run("test", "-c", str(own / "config.yaml"))
    assert victim.read_text() == "precious"
    assert config.read_bytes() == before
    for name in ("results.json", "fit.json", "metrics.csv", "config.yaml"):
        assert (own / name).is_file()
        assert not (own / name).is_symlink()


@pytest.mark.parametrize(("command", "name"), [("fit", "checkpoints"), ("predict", "predictions"), ("test", ".")])
def test_links_to_folders_are_refused(own: Path, run: Run, tmp_path: Path, command: str, name: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    if (own / name).exists():
        shutil.move(own / name, elsewhere)
    elsewhere.mkdir(exist_ok=True)
    (elsewhere / "part-00000.parquet").write_text("precious")
    (own / name).symlink_to(elsewhere)
    before = {path: path.stat().st_mtime_ns for path in elsewhere.rglob("*")}
    words = resume(own) if command == "fit" else [command, "-c", str(own / "config.yaml")]
    assert f"is a link to {elsewhere}, and nothing is written through links" in run(*words, code=2)
    assert {path: path.stat().st_mtime_ns for path in elsewhere.rglob("*")} == before


@pytest.mark.slow
def test_a_second_training_in_the_same_folder_is_refused(own: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder, "PATIENCE", 0.1)
    script = "import filelock as f, sys; l = f.FileLock(sys.argv[1]); l.acquire(); print(flush=True); sys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(own / ".lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    other.stdout.readline()
    before = {path: path.read_bytes() for path in own.rglob("*.*") if path.is_file()}
    assert "is being trained by another process" in run(*resume(own), code=2)
    assert {path: path.read_bytes() for path in own.rglob("*.*") if path.is_file()} == before
    run("test", "-c", str(own / "config.yaml"))  # reads only what is whole
    other.communicate(b"")
    run(*resume(own))


def test_what_a_kill_left_half_written_is_taken_away(own: Path) -> None:
    left = [own / name for name in (".config.yaml.0123abcd.part", "checkpoints/.last.ckpt.0123abcd.part")]
    for path in left:
        path.touch()
    (own / "mine.part").touch()
    with taken(own, "checkpoints"):
        assert not any(path.exists() for path in left)
        assert (own / "mine.part").exists()


def test_the_config_of_a_run_means_no_other_run(
    trained: Path, own: Path, run: Run, tmp_path: Path, options: list[str]
) -> None:
    shutil.copytree(trained, tmp_path / "runs" / trained.parent.name / "version_7")
    (own / "checkpoints/best.ckpt").unlink()
    words = ["-c", str(own / "config.yaml"), "--trainer.default_root_dir", str(tmp_path / "runs")]
    for command in ("test", "predict", "validate"):
        printed = run(command, *words, code=2)
        assert f"{own} has no checkpoints/best.ckpt; it holds checkpoints/last.ckpt, config.yaml" in printed
    shutil.rmtree(own / "checkpoints")
    moved = own.rename(tmp_path / "renamed")
    for name in ("metrics.csv", "fit.json", ".lock"):
        (moved / name).unlink(missing_ok=True)
    words[1] = str(moved / "config.yaml")
    assert "renamed has no checkpoints/last.ckpt; it holds config.yaml." in run(
        "fit", *words, "--ckpt_path", "last", code=2
    )
    assert not (moved / "results.json").exists()


def test_the_newest_run_of_a_name_is_no_link(tmp_path: Path) -> None:
    for folder in ("name/version_1", "other"):
        (tmp_path / folder / "checkpoints").mkdir(parents=True)
        (tmp_path / folder / "checkpoints/best.ckpt").touch()
    (tmp_path / "name/version_2").symlink_to(tmp_path / "other")
    assert named_checkpoint("best", [], tmp_path, "name") == tmp_path / "name/version_1/checkpoints/best.ckpt"
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        named_checkpoint("last", [], tmp_path, "name")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"seconds": "x"}', "\0"])
@pytest.mark.filterwarnings("ignore:The seconds of the training are unknown")
def test_a_damaged_record_of_the_training_does_not_cost_a_test(own: Path, run: Run, content: str) -> None:
    (own / "fit.json").write_text(content)
    if content:  # one whole test is enough
        from mtlzoo.cli.records import seconds_of_fit

        assert seconds_of_fit(own / "fit.json") is None
        return
    run("test", "-c", str(own / "config.yaml"))
    assert read_json(own / "results.json")["seconds"]["fit"] is None


def test_a_folder_that_may_not_be_written_is_said_before_the_work(own: Path, run: Run, monkeypatch: Any) -> None:
    access = os.access  # root may write everywhere
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != own and access(path, mode))
    assert f"{own}: may not be written" in run("test", "-c", str(own / "config.yaml"), code=2)
    assert not (own / "results.json").exists()


@pytest.mark.parametrize("kind", ["file", "broken link", "file on the way", "read-only"])
def test_a_place_that_cannot_be_written_is_said_before_data_are_prepared(
    data_options: list[str], run: Run, monkeypatch: Any, tmp_path: Path, kind: str
) -> None:
    root = tmp_path / "root"
    if kind == "broken link":
        root.symlink_to("nowhere")
    elif kind == "read-only":
        access = os.access
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path and access(path, mode))
    else:
        root.touch()
    words = ["--trainer.default_root_dir", str(root / "deeper" if "way" in kind else root), "--data.prepared", "new"]
    printed = run("fit", "--model", "MMoE", *data_options, *words, code=2)
    place, said = (tmp_path, "may not be written") if kind == "read-only" else (root, "is no folder")
    assert f"{place}: {said}" in printed
    assert not Path("new").exists()


def test_a_name_that_is_taken_by_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "name").symlink_to("nowhere")
    with pytest.raises(FileExistsError):
        run_folder.new_folder(tmp_path, "name")


CONFIGS = {
    "empty": b"",
    "list": b"- 1\n- 2\n",
    "torn": b"model: {class_path: [",
    "binary": bytes(range(256)),
    "word": b"fit",
}


@pytest.mark.parametrize("kind", [*CONFIGS, "folder", "missing"])
def test_a_config_that_is_none_is_refused(run: Run, kind: str) -> None:
    path = Path("config.yaml")
    if kind in CONFIGS:
        path.write_bytes(CONFIGS[kind])
    elif kind == "folder":
        path.mkdir()
    printed = run("fit", "-c", str(path), code=2)
    assert len(printed) < 900
    assert "Traceback" not in printed


def test_no_file_deletes_another_through_the_state_of_a_checkpoint(own: Path, run: Run, tmp_path: Path) -> None:
    """What is no longer the best is deleted, by a path that the checkpoint holds."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    checkpoint = torch.load(own / "checkpoints/last.ckpt", weights_only=True)
    for state in checkpoint["callbacks"].values():
        if "best_k_models" in state:
            low = torch.tensor(-1.0)
            state |= {"best_model_path": "", "kth_best_model_path": str(victim), "best_k_models": {str(victim): low}}
            state |= {"last_model_path": str(victim), "dirpath": str(own / "checkpoints"), "kth_value": low}
    torch.save(checkpoint, own / "checkpoints/last.ckpt")
    run(*resume(own))
    assert victim.read_text() == "precious"
