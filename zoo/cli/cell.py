"""One cell of a comparison: the ordinary ``mtlzoo fit`` and ``mtlzoo test`` in a folder of its own, in one process."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from mtlzoo.cli.fit import run
from mtlzoo.cli.shipped import shipped
from mtlzoo.compare.cells import CellFolder
from mtlzoo.compare.queue import CLAIMED


def run_cell(path: Path, claim: int | None, *, test: bool, keep_rows: int) -> None:
    """Trains a cell, from where it was, and tests it.

    Args:
        path: Its folder, with cell.json.
        claim: Open file that holds its claim until this process ends; None takes it here.
        test: Whether it is tested.
        keep_rows: Rows of test up to which its outputs are kept.

    Raises:
        SystemExit: Another process works on it.
    """
    cell = CellFolder(path.resolve())
    if claim is None and (claim := cell.claim()) is None:
        raise SystemExit(CLAIMED)
    os.set_inheritable(claim, False)  # a process that this one leaves behind must not keep it
    said = cell.read()
    os.chdir(said["folder"])
    if cell.record("fit.json") is None:
        _command("fit", _training(cell, said["words"]))
    if test and cell.record("results.json") is None:
        trained = cell.run
        assert trained is not None
        _command("test", ["-c", str(trained / "config.yaml"), "--ckpt_path", "best", "--keep_rows", str(keep_rows)])
        (trained / "checkpoints" / "last.ckpt").unlink(missing_ok=True)  # two thirds of the space, and of no more use
    cell.forgive()  # what it failed of before


def _training(cell: CellFolder, words: Sequence[str]) -> list[str]:
    """Words that begin the training, or take up the one that was interrupted."""
    begun = cell.run
    if begun is not None and (begun / "checkpoints" / "last.ckpt").is_file() and (begun / "config.yaml").is_file():
        return ["-c", str(begun / "config.yaml"), "--ckpt_path", "last"]
    if begun is not None:
        shutil.rmtree(begun.parent)
    return [*words, f"--trainer.default_root_dir={cell.path}"]


def _command(name: str, words: list[str]) -> None:
    print(f"$ mtlzoo {name} {' '.join(words)}", flush=True)
    # What Lightning starts the other processes of a training with.
    sys.argv = [str(Path(__file__).parents[1] / "__main__.py"), name, *words]
    run([name, *map(shipped, words)])
