"""``mtlzoo fit | validate | test | predict``: LightningCLI with run folders and checkpoints that mean what they say."""

import signal
import time
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lightning as L
import yaml

from mtlzoo.callbacks import ParquetPredictions
from mtlzoo.cli.agreement import check_data
from mtlzoo.cli.command_line import CommandLine
from mtlzoo.cli.description import describe, plain_options
from mtlzoo.cli.kept_rows import KeptRows
from mtlzoo.cli.logs import MetricsFile, stands_at
from mtlzoo.cli.metrics_table import print_metrics
from mtlzoo.cli.parser import listed
from mtlzoo.cli.processes import ended_with_command
from mtlzoo.cli.records import fit_record, seconds_of_fit, test_record
from mtlzoo.cli.refusals import RAISED, mendable, prepares, told
from mtlzoo.cli.run_folder import new_folder, write_json
from mtlzoo.cli.signals import END, Stopped
from mtlzoo.cli.stopping import without_notifier
from mtlzoo.cli.trainer import metrics_file, run_arguments, training_callbacks
from mtlzoo.cli.wandb_run import BestInSummary, WandbRuns, without_anonymous
from mtlzoo.datamodules.errors import DataError, DatasetNotFoundError
from mtlzoo.training.schedules import check_end


def run(args: Sequence[str]) -> None:
    """Runs ``args[0]`` and ends what it began, so that several can run in one process."""
    with ended_with_command(), ExitStack() as held:
        ZooCLI(args, held)


class ZooCLI(CommandLine):
    """Makes data, model and trainer of what was asked for, and runs the command at construction."""

    def instantiate_classes(self) -> None:
        """Data, which prepares itself where needed; then model and trainer."""
        try:
            self.fill_by_rows()
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
        fits = self.subcommand == "fit"
        if self.checkpoint and self.ckpt_path:
            check_data(self.checkpoint, self.datamodule, self.ckpt_path)
        if fits:  # what a training would refuse later, when it has a folder
            check_end(self.model.schedule, config.max_epochs, config.max_steps)
            if config.limit_val_batches != 0:
                self.datamodule.need_validation()
        loggers = [] if config.logger is True else listed(config.logger)
        without_anonymous(loggers)
        if config.fast_dev_run or config.barebones:
            self.save_config_callback = None
            # Lightning silences the logger that a rehearsal has; without one, callbacks that log would refuse.
            silent = [MetricsFile(Path())] if fits and config.logger is not False and not config.barebones else False
            return super().instantiate_trainer(logger=loggers or silent, **kwargs)
        summary = describe(self.options)
        if not hasattr(self, "folder"):
            self._take(new_folder(Path(config.default_root_dir), summary["run_name"]))
        identity = {"data_fingerprint": self.datamodule.encoding.fingerprint, **plain_options(self.options)}
        runs = WandbRuns(loggers, self.folder, self.config.subcommand, {**summary, **identity})
        self.wandb = self._held.enter_context(runs)
        self.save_config_kwargs = {"folder": self.folder, "wandb": runs}
        if fits and config.logger is not False:
            # First, because the first logger's folder is the Trainer's log_dir.
            loggers.insert(0, metrics_file(self.folder, self.checkpoint))
        arguments = run_arguments(config, self.folder, self._callbacks(config), loggers, fits=fits)
        trainer = super().instantiate_trainer(**arguments, **kwargs)
        if not fits:
            stands_at(trainer, self.checkpoint)
        return trainer

    def _callbacks(self, config: Any) -> list[L.Callback]:
        """Callbacks of the command."""
        if self.subcommand == "fit":
            ours = training_callbacks(config, self.options, self.folder, self.model, self.datamodule)
            return [*ours, BestInSummary(self.wandb)]
        if self.subcommand == "predict":
            return [ParquetPredictions(self.folder / "predictions", self._ids)]
        return [KeptRows(self.folder, self.options.keep_rows)] if self.subcommand == "test" else []

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
            self.wandb.publish(self.folder / "config.yaml", "config")
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
            seconds = {"fit": seconds_of_fit(self.folder / "fit.json"), "test": time.monotonic() - self._started}
            checkpoint = {"path": self.ckpt_path, **self.checkpoint}
            config = yaml.safe_load(self.parser.dump(self.config, skip_none=False))[self.config.subcommand]
            summary = describe(self.options)
            record = test_record(self.trainer, self.model, self.datamodule, summary, checkpoint, seconds, config)
            write_json(self.folder / "results.json", record)
            self.wandb.tested(record["metrics"])
            self.wandb.publish(self.folder / "results.json", "results")
            print(f"Results: {self.folder / 'results.json'}")

    def after_predict(self) -> None:
        """Says where the predictions are."""
        if self.trainer.is_global_zero and hasattr(self, "folder"):
            print(f"Predictions: {self.folder / 'predictions'}")
