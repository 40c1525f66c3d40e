"""The command ``mtlzoo``: fit, validate, test, predict, prepare, compare, and two more that compare runs.

This module imports nothing heavy: ``mtlzoo --help`` answers at once, and what a command needs is imported when it runs.
"""

import difflib
import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import NoReturn

from mtlzoo.cli.shipped import shipped
from mtlzoo.cli.typos import refuse_typos
from mtlzoo.version import __version__

COMMANDS = {
    "fit": ("train a model; best and last checkpoint, metrics and config go to a run folder", "mtlzoo.cli.fit"),
    "validate": ("evaluate a checkpoint on the validation split", "mtlzoo.cli.fit"),
    "test": (
        "evaluate a checkpoint on the test split; table, and results.json in its run folder",
        "mtlzoo.cli.fit",
    ),
    "predict": ("write the predictions of a checkpoint to Parquet", "mtlzoo.cli.fit"),
    "prepare": ("prepare a data set, without a model", "mtlzoo.cli.prepare"),
    "compare": (
        "train and test a matrix of models, rules, data sets and seeds; statistics and a page of what came of it",
        "mtlzoo.cli.compare",
    ),
    "compare-samples": (
        "transfer between tasks on users whose feedback on them is comparable",
        "mtlzoo.cli.compare_samples",
    ),
    "compare-cold-start": (
        "runs on users and items that train has few rows of, side by side",
        "mtlzoo.cli.compare_cold_start",
    ),
    "export": ("write a trained model as a folder that answers raw rows", "mtlzoo.cli.export"),
    "dashboard": ("W&B workspaces and a report of a project's runs", "mtlzoo.cli.dashboard"),
}
"""What each command does, and the module whose ``run(args)`` does it."""
NAMING = ("fit", "validate", "test", "predict", "prepare")
"""Commands whose ``--model`` and ``--data`` name a class."""


def main(args: Sequence[str] | None = None) -> None:
    """Runs one command.

    Args:
        args: Words of the command line after ``mtlzoo``; those of this process if None. Then errors that the user can
            mend end the process with their message alone; a caller in Python gets the exception.

    Raises:
        SystemExit: 0 after a help text, 2 on a wrong command, option or file, 1 where a training diverged, 128 + its
            number where a signal ended the command.
    """
    words = list(sys.argv[1:] if args is None else args)
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return
    if words[0] == "--version":
        print(f"mtlzoo {__version__}")
        return
    if words[0] not in COMMANDS:
        _unknown(words[0])
    if words[0] in NAMING:
        refuse_typos(words)
    from mtlzoo.cli.signals import NOTHING, REQUESTS, Stopped

    try:
        with REQUESTS.heard(ends=args is None):
            _run(words, raises=args is not None)
    except Stopped as stopped:
        if stopped.code:
            said = stopped.message or NOTHING
            sys.stderr.write(f"mtlzoo {words[0]}: ended by {stopped.name}. {said}\n")
        raise


def _run(words: list[str], *, raises: bool) -> None:
    from mtlzoo.cli.signals import REQUESTS

    with REQUESTS.importing(), _lasting(alone=not raises):
        command = import_module(COMMANDS[words[0]][1])
    try:
        command.run([words[0], *map(shipped, words[1:])])
    except Exception as error:
        from mtlzoo.cli.refusals import mendable, told

        if raises or not mendable(error):
            raise
        sys.stderr.write(f"mtlzoo {words[0]}: error: {told(error)}\n")
        raise SystemExit(1 if isinstance(error, FloatingPointError) else 2) from None


@contextmanager
def _lasting(*, alone: bool) -> Iterator[None]:
    """What is imported within lasts as long as the process, if that is ours alone, and no garbage is looked for in it.

    Of a hundred thousand classes and functions of torch and lightning that takes as long as importing them does: again
    and again meanwhile, and once more when the process ends.
    """
    if not alone or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _overview() -> str:
    lines = [f"  {name:<18} {what}" for name, (what, _) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: mtlzoo COMMAND [options]",
            "",
            "The model zoo for multi-task recommendation. Commands:",
            *lines,
            "",
            "  mtlzoo fit --model MMoE --data KuaiRand --data.root DIR     train",
            "  mtlzoo test -c RUN/config.yaml --ckpt_path best             test what was trained",
            "  mtlzoo compare FILE --out DIR                               compare models, rules and data sets",
            "  mtlzoo COMMAND --help                                       all options of a command",
            "  mtlzoo fit --model.help MMoE                                options of one model",
            "  mtlzoo fit --data.help KuaiRand                             options of one data set",
        ]
    )


def _unknown(word: str) -> NoReturn:
    near = difflib.get_close_matches(word, COMMANDS, 1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    sys.stderr.write(f"mtlzoo: error: no command {word!r}.{hint} Commands are {', '.join(COMMANDS)}.\n")
    raise SystemExit(2)
