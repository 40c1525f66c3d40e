"""A signal ends a training with last.ckpt and its own exit status, and nothing else with a status of success."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import run_on_ranks

from mtlzoo import MMoE
from mtlzoo.cli import main
from mtlzoo.cli.signals import ENDING, REQUESTS
from mtlzoo.datamodules import Synthetic

Run = Callable[..., str]
RUN = Path("runs/Synthetic-MMoE-s0/version_0")
FIT = ["--trainer.max_epochs", "2", "--patience", "null", "--data.eval_batch_size", "100", "--model.dropout", "0.2"]


@pytest.fixture(autouse=True)
def _as_in_a_terminal() -> Iterator[None]:
    """Signals arrive: a shell that starts pytest in the background, or nohup, may have let it ignore them."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def signal_in(
    monkeypatch: pytest.MonkeyPatch, owner: Any, method: str, call: int, number: int = signal.SIGTERM, times: int = 1
) -> None:
    """Sends this process a signal within the `call`-th call of a method."""
    original, calls = getattr(owner, method), []

    def replaced(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        for _ in range(times if len(calls) == call else 0):
            os.kill(os.getpid(), number)
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, method, replaced)


def state(folder: Path) -> dict[str, torch.Tensor]:
    checkpoint: Any = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    return dict(checkpoint["state_dict"])


@pytest.fixture(scope="module")
def whole(options: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of `FIT` that nothing interrupts: 2 epochs of 10 batches, each followed by 3 of validation."""
    root = tmp_path_factory.mktemp("whole")
    main(["fit", *options, *FIT, "--trainer.default_root_dir", str(root)])
    return root / RUN.relative_to("runs")


@pytest.mark.parametrize(
    ("method", "call", "step"),
    [
        ("validation_step", 2, 1),  # while Lightning tries the validation out
        ("training_step", 1, 1),
        ("training_step", 4, 4),
        ("training_step", 10, 10),  # the last batch of an epoch
        ("validation_step", 4, 10),  # its validation
        ("validation_step", 7, 20),  # the last one
    ],
)
def test_a_training_that_is_ended_goes_on_to_the_same_weights(
    whole: Path, options: list[str], run: Run, monkeypatch: pytest.MonkeyPatch, method: str, call: int, step: int
) -> None:
    with monkeypatch.context() as patch:
        signal_in(patch, MMoE, method, call, times=2)
        printed = run("fit", *options, *FIT, code=143)
    assert f"ended by SIGTERM. Saved at step {step}: " in printed
    words = printed.split("mtlzoo fit -c ")[1].split()
    run("fit", "-c", *words)
    expected = state(whole)
    assert all(torch.equal(value, expected[name]) for name, value in state(RUN).items())
    assert [path.name for path in RUN.parent.iterdir()] == ["version_0"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_every_signal_has_its_own_status(
    options: list[str], run: Run, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    signal_in(monkeypatch, MMoE, "training_step", 3, number)
    before = signal.getsignal(number)
    run("fit", *options, *FIT, code=code)
    assert torch.load(RUN / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 3
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(
    ("command", "owner", "method"),
    [
        ("test", MMoE, "test_step"),
        ("validate", MMoE, "validation_step"),
        ("predict", MMoE, "predict_step"),
        ("fit", MMoE, "configure_optimizers"),
        ("prepare", Synthetic, "read"),
        ("fit", Synthetic, "read"),
    ],
)
def test_without_a_result_no_command_succeeds(
    trained: Path,
    options: list[str],
    data_options: list[str],
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    owner: Any,
    method: str,
) -> None:
    words = data_options if command == "prepare" else options
    if command in ("test", "validate", "predict"):
        words = [*words, "--ckpt_path", str(trained / "checkpoints/best.ckpt")]
    if owner is Synthetic:
        words = [*words, "--data.prepared", "prepared"]
    if command == "predict":  # so that there are earlier ones
        run("predict", *words)
    files = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    signal_in(monkeypatch, owner, method, 1)
    assert f"mtlzoo {command}: ended by SIGTERM. It has no result" in run(command, *words, code=143)
    assert {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()} == files


@pytest.mark.slow
def test_the_command_as_a_cluster_ends_it(options: list[str], tmp_path: Path) -> None:
    """SIGTERM to the first process alone; nothing is left of it but what the next command goes on from.

    A command of one process is ended so in test_cli_compare.py.
    """
    words = [*options, "--trainer.max_epochs", "1000", "--patience", "null", "--data.prepared", str(tmp_path / "new")]
    words += ["--trainer.devices", "2", "--trainer.strategy", "ddp"]
    command = [sys.executable, "-m", "mtlzoo", "fit", *words]
    began = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    ended = time.monotonic() + 200
    while not (RUN / "metrics.csv").exists() and began.poll() is None and time.monotonic() < ended:
        time.sleep(0.1)
    began.send_signal(signal.SIGTERM)
    _, said = began.communicate(timeout=100)
    assert began.returncode == 143, said
    assert "ended by SIGTERM. Saved at step" in said
    assert "Traceback" not in said
    reached = torch.load(RUN / "checkpoints/last.ckpt", weights_only=True)["global_step"]
    more = ["--ckpt_path", "last", "--trainer.max_epochs", "-1", "--trainer.max_steps", str(reached + 1)]
    run_on_ranks("mtlzoo", 2, "fit", "-c", str(RUN / "config.yaml"), *more)
    assert torch.load(RUN / "checkpoints/last.ckpt", weights_only=True)["global_step"] == reached + 1


EARLY = """
import os, signal
import lightning as L

class Early(L.Callback):
    def __init__(self, rank: int, place: str) -> None:
        self.rank, self.place = rank, place

    def setup(self, trainer, pl_module, stage):
        barrier = trainer.strategy.barrier
        def watched(name=None):
            self.at(trainer, name)
            barrier(name)
        trainer.strategy.barrier = watched
        self.at(trainer, "setup")

    def at(self, trainer, place):
        if (trainer.global_rank, place) == (self.rank, self.place):
            os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("rank", "place"), [(1, "setup"), (0, "run-stage")])
def test_a_signal_to_one_of_two_processes_before_the_training_ends_both(
    options: list[str], tmp_path: Path, rank: int, place: str
) -> None:
    """The other waits for it in a collective: within a hook, and where Lightning's own handler is already there."""
    (tmp_path / "early.py").write_text(EARLY)
    words = [
        "--trainer.callbacks+=early.Early",
        f"--trainer.callbacks.rank={rank}",
        f"--trainer.callbacks.place={place}",
    ]
    words += ["--trainer.devices", "2", "--trainer.strategy", "ddp"]
    ended = subprocess.run(
        [sys.executable, "-m", "mtlzoo", "fit", *options, *words],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert ended.returncode == 143, ended.stderr
    assert "mtlzoo fit: ended by SIGTERM. It has no result" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(("command", "owner", "method"), [("test", MMoE, "test_step"), ("prepare", Synthetic, "read")])
def test_ctrl_c_that_a_library_took_over_is_one(
    trained: Path,
    options: list[str],
    data_options: list[str],
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    owner: Any,
    method: str,
) -> None:
    """Polars raises KeyboardInterrupt by itself, whatever handler there is."""

    def interrupted(*args: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(owner, method, interrupted)
    words = [*options, "--ckpt_path", str(trained / "checkpoints/best.ckpt")] if command == "test" else data_options
    before = signal.getsignal(signal.SIGINT)
    assert "ended by SIGINT" in run(command, *words, "--data.prepared", "prepared", code=130)
    signal.signal(signal.SIGINT, before)  # Lightning ignores it from then on


def test_a_signal_that_comes_again_while_the_process_ends_does_not_change_its_status(
    monkeypatch: pytest.MonkeyPatch, data_options: list[str]
) -> None:
    before = {number: signal.getsignal(number) for number in ENDING}
    signal_in(monkeypatch, Synthetic, "read", 1, signal.SIGHUP)
    monkeypatch.setattr(sys, "argv", ["mtlzoo", "prepare", *data_options, "--data.prepared", "prepared"])
    try:
        with pytest.raises(SystemExit, match="129"):
            main()
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_library_that_swallows_exceptions_while_it_is_imported_swallows_no_signal(tmp_path: Path) -> None:
    (tmp_path / "swallows.py").write_text(
        "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGTERM)\nexcept BaseException:\n    pass\n"
        "def run(args): raise RecursionError\n"
    )
    script = (
        "import sys; from mtlzoo import cli; cli.COMMANDS['prepare'] = ('', 'swallows'); sys.argv[1:] = ['prepare']"
    )
    ended = subprocess.run(
        [sys.executable, "-c", f"{script}; cli.main()"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 143, ended.stderr
    assert ended.stderr == "mtlzoo: ended by SIGTERM. It has no result; what was written before is as it was.\n"


def test_an_ignored_signal_stays_ignored() -> None:
    """As ``nohup`` and shells that put a command into the background have it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with REQUESTS.heard():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, signal.SIG_IGN)
    finally:
        signal.signal(signal.SIGHUP, before)
