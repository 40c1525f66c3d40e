"""What the words of ``mtlzoo fit | validate | test | predict`` ask for: options, a checkpoint, or something refused."""

import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Literal

import lightning as L
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.utilities import rank_zero_info

from mtlzoo.cli import preset
from mtlzoo.cli.agreement import model_of, peek, reconcile
from mtlzoo.cli.description import describe
from mtlzoo.cli.logs import SaveConfig, quiet
from mtlzoo.cli.parser import Parser, import_public_classes
from mtlzoo.cli.refusals import told
from mtlzoo.cli.rehearsal import check_values, rehearse
from mtlzoo.cli.run_folder import folder_of, may_be_written, named_checkpoint, taken
from mtlzoo.cli.trainer import TRAINER_DEFAULTS
from mtlzoo.compare.results import TESTED
from mtlzoo.datamodules.base import MultiTaskDataModule
from mtlzoo.datamodules.errors import DataError, DatasetNotFoundError
from mtlzoo.datamodules.prepare.like import find_encoding
from mtlzoo.module import MultiTaskModule


class CommandLine(LightningCLI):
    """Options of model, data and trainer, and the checkpoint that they mean; refuses what can't work.

    Args:
        args: Words after ``mtlzoo``.
        held: What is given back when the command has ended.
    """

    trainer: L.Trainer
    model: MultiTaskModule
    datamodule: MultiTaskDataModule

    def __init__(self, args: Sequence[str], held: ExitStack | None = None) -> None:
        import_public_classes()
        quiet()
        self._held = held or ExitStack()
        self._args = list(args)
        self.folder: Path
        self.checkpoint: dict[str, Any] = {}
        self.ckpt_path: Path | None = None
        super().__init__(
            MultiTaskModule,
            MultiTaskDataModule,
            save_config_callback=SaveConfig,
            seed_everything_default=0,
            parser_class=Parser,
            parser_kwargs={"prog": "mtlzoo"},
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            args=self._args,
        )

    # ---- options

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # static in Lightning, which calls it so
        """The command, and what of the Trainer's method is not an option; a parser for all would cost a second."""
        other = {
            "fit": {"train_dataloaders", "val_dataloaders"},
            "validate": {"dataloaders", "verbose"},
            "test": {"dataloaders", "verbose"},
            "predict": {"dataloaders", "return_predictions"},
        }
        return {self._args[0]: {"model", "datamodule", "weights_only", *other[self._args[0]]}}

    def add_core_arguments_to_parser(self, parser: Any) -> None:
        """Trainer, model and data; a checkpoint can stand for the model."""
        parser.add_lightning_class_args(L.Trainer, "trainer")
        parser.set_defaults({f"trainer.{name}": value for name, value in TRAINER_DEFAULTS.items()})
        parser.add_lightning_class_args(MultiTaskModule, "model", subclass_mode=True, required=False)
        parser.add_lightning_class_args(MultiTaskDataModule, "data", subclass_mode=True)

    def add_arguments_to_parser(self, parser: Any) -> None:
        """The link from data to model, and our own options; every command takes them, as configs are shared."""
        parser.link_arguments("data.schema", "model.init_args.schema", apply_on="instantiate")
        parser.add_argument(
            "--preset",
            type=Literal["auto", "none"],
            default="auto",
            help="fit: options that were found good on this data set, where you give none; none leaves them out.",
        )
        parser.add_argument(
            "--patience",
            type=int | None,
            default=2,
            help="fit: stop after so many validations in a row without a better score; null never stops early.",
        )
        parser.add_argument(
            "--checkpoint_every",
            type=int | None,
            default=None,
            help="fit: write last.ckpt also every so many batches; null writes it at the end of epochs only.",
        )
        parser.add_argument(
            "--all_metrics",
            type=bool,
            default=False,
            help="validate, test: print every metric, and not only the main ones.",
        )

        parser.add_argument(
            "--keep_rows",
            type=int,
            default=0,
            help="test: keep outputs and labels of its rows, up to so many, in tested/; of more rows none is kept.",
        )

    def parse_arguments(self, parser: Any, args: Any) -> None:
        """Parses, without Lightning's warning that words given in Python are not those of the process."""
        self.config = parser.parse_args(args)
        self._given: Namespace | None = None
        if self.config.subcommand == "fit" and self.options.preset == "auto" and self.options.data:
            given = parser.parse_args(args, defaults=False)["fit"]
            if found := preset.preset(self.options):
                self._fill(found, given)
            else:
                self._given = given

    def fill_by_rows(self) -> None:
        """Prepares data without a preset, and sets by their rows what nobody gave; nothing where a training goes on.

        Rankings have no rule: the batches, rates and epochs that they need are other ones.
        """
        if self._given is None or self.checkpoint:
            return
        alone = Namespace(data=self.options.data.clone())  # type: ignore[no-untyped-call]  # of jsonargparse
        self.config_dump: dict[str, Any] = {}  # which Lightning would make now, and note as the model's options later
        data = self._parser("fit").instantiate_classes(alone).data
        del self.config_dump
        if all(task.kind != "ranking" for task in data.schema.tasks):
            self._fill(preset.by_rows(data.data.manifest["rows"].get("train", 0), self.options), self._given)

    def _fill(self, found: dict[str, Any], given: Namespace) -> None:
        """Sets the options of a preset that nobody gave."""
        if filled := preset.fill(self.options, given, found):
            self.tell_preset(filled)

    def tell_preset(self, filled: dict[str, Any]) -> None:
        """Says what a preset has set."""
        shown = ", ".join(f"{name} {value}" for name, value in filled.items())
        rank_zero_info(f"Preset: {shown} (--preset none leaves them out)")

    @property
    def options(self) -> Namespace:
        """The options of the command that runs."""
        return self.config[self.config.subcommand]  # type: ignore[no-any-return]

    def _parse_ckpt_path(self) -> None:
        """Finds the checkpoint and takes the model's options from it.

        Overrides Lightning's, which lets the checkpoint silently overrule the command line (#21455).
        """
        options = self.options
        wanted = options.ckpt_path
        if wanted is None and self.config.subcommand != "fit" and not options.trainer.fast_dev_run:
            wanted = "best"
        if options.model is None and wanted in (None, "best", "last"):
            self._refuse("the following arguments are required: x.model")
        if wanted is None:
            return
        try:
            self.ckpt_path = found = self._find(wanted)
            options.ckpt_path = str(found)
            if (folder := folder_of(found)) and not (options.trainer.fast_dev_run or options.trainer.barebones):
                self._take(folder)  # before the checkpoint is looked at, which another process may just replace
            self.checkpoint = peek(found, resumes=self.config.subcommand == "fit")
            if options.model is None:
                options.model = model_of(self.checkpoint, found)
            else:
                given = self.parser.parse_args(self._args, defaults=False)[self.config.subcommand].get("model")
                reconcile(options.model, given, self.checkpoint, found)
            if self.config.subcommand == "predict" and options.data.init_args.get("predict"):
                self._encode_like(found)
        except (ValueError, OSError) as error:
            self._refuse(told(error), error)

    def _encode_like(self, checkpoint: Path) -> None:
        """Encodes new rows as the checkpoint's training did its own; where nobody kept that, as its data are again."""
        with suppress(DatasetNotFoundError):
            find_encoding(checkpoint)
            self.options.data.init_args.like = str(checkpoint)

    def _take(self, folder: Path) -> None:
        parts = {"fit": "checkpoints", "predict": "predictions", "test": TESTED if self.options.keep_rows else ""}
        self._held.enter_context(taken(folder, parts.get(self.config.subcommand, "")))
        self.folder = folder

    def _find(self, wanted: str) -> Path:
        configs = [Path(path.absolute) for path in self.options.get("config") or []]
        root = Path(self.options.trainer.default_root_dir)
        if wanted not in ("best", "last"):
            path = Path(wanted).expanduser()
            if not path.is_file():
                raise FileNotFoundError(f"there is no checkpoint {path}. Give its path, or best or last.")
            return path
        return named_checkpoint(wanted, configs, root, describe(self.options)["run_name"])

    def _refuse(self, message: str, error: Exception | None = None) -> None:
        self._parser(self.config.subcommand).error(message, error)

    def before_instantiate_classes(self) -> None:
        """Refuses what can't work, before anything is prepared or written."""
        trainer = self.options.trainer
        if self.options.seed_everything is False:
            os.environ.pop("PL_GLOBAL_SEED", None)  # of a command before this one, whose seed the rows would follow
        if trainer.barebones and trainer.log_every_n_steps == TRAINER_DEFAULTS["log_every_n_steps"]:
            trainer.log_every_n_steps = 0  # ours, not the user's
        try:
            check_values(self.options)
            if not hasattr(self, "folder"):
                may_be_written(Path(trainer.default_root_dir).expanduser())
            rehearse(self._parser(self.config.subcommand), self.options)
        except (DataError, DatasetNotFoundError):
            raise
        except Exception as error:  # nothing but the options is at work yet
            self._refuse(told(error), error)
