"""``mtlzoo prepare``: prepares a data set without a model, on a machine without a GPU or before many runs."""

from collections.abc import Sequence
from typing import Any

from jsonargparse import SUPPRESS, ActionConfigFile, Namespace  # type: ignore[attr-defined]  # public, but not in __all__
from rich.table import Table

from mtlzoo.cli.parser import Parser, import_public_classes
from mtlzoo.cli.refusals import RAISED, told
from mtlzoo.console import wide_console
from mtlzoo.datamodules.base import MultiTaskDataModule
from mtlzoo.datamodules.errors import DataError, DatasetNotFoundError
from mtlzoo.datamodules.prepare.build import verify_whole
from mtlzoo.datamodules.prepare.manifest import account

IGNORED = (
    "model",
    "trainer",
    "seed_everything",
    "preset",
    "patience",
    "checkpoint_every",
    "all_metrics",
    "keep_rows",
    "ckpt_path",
)
"""Sections of a training's config that say nothing about data."""


def run(args: Sequence[str]) -> None:
    """Prepares and says what came of it."""
    parser = _parser("mtlzoo prepare", "Prepares a data set, once; other commands find it.")
    parser.add_argument("--verify", action="store_true", help="Compare all that was prepared with its checksums.")
    config = parser.parse_args(list(args[1:]))
    data = _made(parser, config)
    if config.verify:
        verify_whole(data.folder, type(data).__name__)
    manifest = data.data.manifest
    labels = list(dict.fromkeys(label for rates in manifest["label_rates"].values() for label in rates))
    table = Table("split", "rows", *labels, title=type(data).__name__)
    for split, rows in manifest["rows"].items():
        rates = manifest["label_rates"].get(split, {})
        table.add_row(split, f"{rows:,}", *(_shown(rates.get(name)) for name in labels))
    wide_console().print(table)
    print(account(manifest))
    print(f"{'Prepared and verified' if config.verify else 'Prepared'}: {data.folder}")


def _shown(rate: float | list[float] | dict[str, float] | None) -> str:
    """The rate of a label, or those of its classes."""
    if isinstance(rate, dict):
        return ", ".join(f"{name} {share:.4f}" for name, share in rate.items())
    if isinstance(rate, list):
        return " ".join(f"{share:.4f}" for share in rate)
    return "" if rate is None else f"{rate:.4f}"


def data_of(args: Sequence[str], *, prog: str) -> MultiTaskDataModule:
    """The data set that options or a config name; of a training's config what says nothing about data is ignored."""
    parser = _parser(prog)
    return _made(parser, parser.parse_args(list(args)))


def _parser(prog: str, description: str = "") -> Parser:
    import_public_classes()
    parser = Parser(prog=prog, description=description)
    parser.add_argument("-c", "--config", action=ActionConfigFile, help="Config of data, or of a whole training.")
    parser.add_lightning_class_args(MultiTaskDataModule, "data", subclass_mode=True)
    for name in IGNORED:
        parser.add_argument(f"--{name}", type=Any, help=SUPPRESS)
    return parser


def _made(parser: Parser, config: Namespace) -> MultiTaskDataModule:
    for name in IGNORED:
        config.pop(name)
    try:
        data: MultiTaskDataModule = parser.instantiate_classes(config).data
    except (DataError, DatasetNotFoundError):
        raise
    except RAISED as error:
        parser.error(told(error), error)
    return data
