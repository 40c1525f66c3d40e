"""``mtlzoo fit | validate | test | predict``: LightningCLI with run folders and checkpoints that mean what they say."""

import signal
import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import lightning as L
from jsonargparse import Namespace
from lightning.pytorch.callbacks import ProgressBar, Timer
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import WandbLogger

from mtlzoo.callbacks import ParquetPredictions
from mtlzoo.cli.agreement import KeptEncoding, check_data, model_of, peek, reconcile
from mtlzoo.cli.checkpoints import AtomicCheckpointIO, BestCheckpoint, LastCheckpoint, Patience
from mtlzoo.cli.logs import EpochLines, MetricsFile, SaveConfig, quiet, without_anonymous
from mtlzoo.cli.parser import Parser, import_public_classes
from mtlzoo.cli.refusals import RAISED, mendable, prepares, told
from mtlzoo.cli.rehearsal import check_values, rehearse
from mtlzoo.cli.results import fit_record, print_metrics, test_record
from mtlzoo.cli.run_folder import (
    describe,
    folder_of,
    listed,
    may_be_written,
    named_checkpoint,
    new_folder,
    taken,
    write_json,
)
from mtlzoo.cli.screen import OneLineBar, RunSize
from mtlzoo.cli.signals import END, Stopped
from mtlzoo.cli.stopping import StopWithCheckpoint, without_notifier
from mtlzoo.datamodules.base import MultiTaskDataModule
from mtlzoo.datamodules.errors import DataError, DatasetNotFoundError
from mtlzoo.datamodules.prepare.like import find_encoding
from mtlzoo.module import MultiTaskModule
from mtlzoo.training.schedules import check_end

TRAINER_DEFAULTS = {
    "max_epochs": 20,
    "log_every_n_steps": 50,
    "use_distributed_sampler": False,  # the loaders share out the rows themselves
    "default_root_dir": "runs",
}
"""Where the command differs from `Trainer()`."""


def run(args: Sequence[str]) -> None:
    """Runs ``args[0]`` and ends what it began, so that several can run in one process."""
    with ExitStack() as held:
        cli = ZooCLI(args, held)
        for logger in cli.trainer.loggers:
            if isinstance(logger, WandbLogger) and cli.trainer.is_global_zero:
                logger.experiment.finish()


class ZooCLI(LightningCLI):
    """Model, data and trainer from the command line; runs the command at construction.

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

    def parse_arguments(self, parser: Any, args: Any) -> None:
        """Parses, without Lightning's warning that words given in Python are not those of the process."""
        self.config = parser.parse_args(args)

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
        part = {"fit": "checkpoints", "predict": "predictions"}.get(self.config.subcommand, "")
        self._held.enter_context(taken(folder, part))
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

    # ---- objects

    def instantiate_classes(self) -> None:
        """Data, which prepares itself where needed; then model and trainer."""
        try:
            super().instantiate_classes()
        except (DataError, DatasetNotFoundError):
            raise
        except RAISED as error:  # a value that a constructor refuses is a wrong option like any other
            if prepares(error) and not mendable(error):
                raise
            self._refuse(told(error), error)

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """A trainer that writes into the run folder."""
        config = self._get(self.config_init, "trainer")
        if self.checkpoint and self.ckpt_path:
            check_data(self.checkpoint, self.datamodule, self.ckpt_path)
        fitting = self.subcommand == "fit"
        if fitting:
            self._check_fit(config)
        loggers = [] if config.logger is True else listed(config.logger)
        without_anonymous(loggers)
        if config.fast_dev_run or config.barebones:
            self.save_config_callback = None
            # Lightning silences the logger that a rehearsal has; without one, callbacks that log would refuse.
            silent = [MetricsFile(Path())] if fitting and config.logger is not False and not config.barebones else False
            return super().instantiate_trainer(logger=loggers or silent, **kwargs)
        summary = describe(self.options)
        root = Path(config.default_root_dir)
        if not hasattr(self, "folder"):
            self._take(new_folder(root, summary["run_name"]))
        identity = {"data_fingerprint": self.datamodule.encoding.fingerprint}
        self.save_config_kwargs = {"folder": self.folder, "summary": {**summary, **identity}}
        terminal = sys.stdout.isatty() if config.enable_progress_bar is None else config.enable_progress_bar
        callbacks = [*listed(config.callbacks), *(self._fit_callbacks(config) if fitting else [])]
        # Other checkpoints of the same moment hold what is the best by then.
        callbacks.sort(key=lambda callback: not isinstance(callback, BestCheckpoint))
        if fitting and not terminal:
            callbacks.append(EpochLines())
        asks_for_bar = any(isinstance(callback, ProgressBar) for callback in callbacks)
        if terminal and not asks_for_bar:
            callbacks.append(OneLineBar())
        if fitting and config.enable_model_summary is None:
            callbacks.append(RunSize())
        if self.subcommand == "predict":
            callbacks.append(ParquetPredictions(self.folder / "predictions", self._ids))
        if fitting and config.logger is not False:
            # First, because the first logger's folder is the Trainer's log_dir.
            validates = (self.checkpoint.get("mtlzoo") or {}).get("validation") == "due"
            first = MetricsFile(self.folder, self.checkpoint.get("global_step", 0), validates=validates)
            loggers.insert(0, first)
        own = {
            "callbacks": callbacks,
            "logger": loggers or False,
            "plugins": [*listed(config.plugins), AtomicCheckpointIO()],
            "default_root_dir": self.folder,
            "enable_progress_bar": terminal or (config.enable_progress_bar is None and asks_for_bar),
            "enable_model_summary": bool(config.enable_model_summary),
            "enable_checkpointing": fitting and config.enable_checkpointing is not False,
        }
        return super().instantiate_trainer(**own, **kwargs)

    def _check_fit(self, config: Namespace) -> None:
        """Refuses what a training would refuse later, when it has a folder."""
        check_end(self.model.schedule, config.max_epochs, config.max_steps)
        if config.limit_val_batches != 0:
            self.datamodule.need_validation()

    def _fit_callbacks(self, config: Namespace) -> list[L.Callback]:
        monitor, mode = self.model.monitor
        checkpoints = self.folder / "checkpoints"
        validated = config.limit_val_batches != 0
        callbacks: list[L.Callback] = [Timer(config.max_time), KeptEncoding(self.datamodule, self.folder)]
        if config.enable_checkpointing is not False:
            callbacks += [BestCheckpoint(checkpoints, monitor, mode)] if validated else []
            last = LastCheckpoint(checkpoints, self.options.checkpoint_every)
            callbacks += [last, StopWithCheckpoint(last.path)]
        if self.options.patience is not None and validated:
            callbacks.append(Patience(monitor, mode, self.options.patience))
        return callbacks

    def _ids(self) -> Any:
        loader: Any = self.trainer.predict_dataloaders
        return loader.columns.ids()

    # ---- running

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        fixed: dict[str, Any] = {"weights_only": True}
        if subcommand in ("validate", "test"):
            fixed["verbose"] = False  # our own table instead
        if subcommand == "predict":
            fixed["return_predictions"] = False
        return {**super()._prepare_subcommand_kwargs(subcommand), **fixed}

    def _run_subcommand(self, subcommand: str) -> None:
        self._started = time.monotonic()
        with warnings.catch_warnings():
            # A resumed run writes where it wrote before; train losses are logged every n steps of the whole training,
            # whatever an epoch has; metrics agree over processes already; and an evaluation needs no callback of the
            # training. Nothing of that is the user's to mend.
            warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
            warnings.filterwarnings("ignore", "The number of training batches .* is smaller than the logging interval")
            warnings.filterwarnings("ignore", "It is recommended to use .*sync_dist=True")
            warnings.filterwarnings("ignore", "Precision .* is not supported by the model summary")
            # Lightning 2.6 with torch from 2.13 on.
            warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.. is deprecated", FutureWarning)
            if subcommand != "fit":
                warnings.filterwarnings("ignore", "Be aware that when using `ckpt_path`, callbacks used to create")
            without_notifier(self.trainer)
            try:
                super()._run_subcommand(subcommand)
            except SystemExit as ended:
                saved = isinstance(ended, Stopped) and ended.message  # by agreement: the others end by themselves
                if (launcher := self.trainer.strategy.launcher) is not None and not saved:
                    launcher.kill(END)
                if isinstance(ended, Stopped):
                    raise
                raise Stopped(signal.SIGINT) from None  # what Lightning makes of a KeyboardInterrupt

    def after_fit(self) -> None:
        """Writes fit.json."""
        if hasattr(self, "folder") and self.trainer.is_global_zero:
            write_json(self.folder / "fit.json", fit_record(self.trainer))
            print(f"Run folder: {self.folder}")

    def after_validate(self) -> None:
        """Prints the metrics."""
        if self.trainer.is_global_zero:
            print_metrics(self.trainer, self.model, everything=self.options.all_metrics)

    def after_test(self) -> None:
        """Prints the metrics and writes results.json."""
        if not self.trainer.is_global_zero:
            return
        print_metrics(self.trainer, self.model, everything=self.options.all_metrics)
        if hasattr(self, "folder"):
            record = test_record(self, time.monotonic() - self._started)
            write_json(self.folder / "results.json", record)
            print(f"Results: {self.folder / 'results.json'}")

    def after_predict(self) -> None:
        """Says where the predictions are."""
        if self.trainer.is_global_zero and hasattr(self, "folder"):
            print(f"Predictions: {self.folder / 'predictions'}")
