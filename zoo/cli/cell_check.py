"""Whether the words of a cell can work, without running them."""

import io
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from mtlzoo.cli.command_line import CommandLine
from mtlzoo.cli.description import describe
from mtlzoo.cli.parser import import_class, plain
from mtlzoo.cli.refusals import told
from mtlzoo.cli.shipped import shipped
from mtlzoo.compare.lines import WrongFileError
from mtlzoo.compare.matrix import Checked
from mtlzoo.compare.options import Option, culprit, words_of
from mtlzoo.datamodules.errors import DataError, DatasetNotFoundError
from mtlzoo.datamodules.prepare.plan import Plan


class Rehearsal(CommandLine):
    """Options of a training that is not run: parsed, and everything but the data made once for nothing."""

    def instantiate_classes(self) -> None:
        """Makes nothing more."""

    def tell_preset(self, filled: dict[str, Any]) -> None:
        """Leaves that to the cell."""

    def _run_subcommand(self, subcommand: str) -> None:
        pass

    def _set_seed(self) -> None:
        pass

    def again(self, words: Sequence[str]) -> None:
        """Looks at other words with the same parser."""
        self._args = list(words)
        self.parse_arguments(self.parser, self._args)
        self.before_instantiate_classes()


class CellCheck:
    """Refuses options of cells with the line of the file that asks for them.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rehearsal: Rehearsal | None = None

    def __call__(self, options: Sequence[Option]) -> Checked:
        """What the options mean.

        Raises:
            WrongFileError: They can't work.
        """
        words = ["fit", *map(shipped, words_of(options))]
        said = io.StringIO()
        try:
            with redirect_stderr(said), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # they are told when the data are prepared, and by every cell
                return _meaning(self._look(words))
        except (SystemExit, DataError, DatasetNotFoundError, OSError) as error:
            text = said.getvalue().strip() if isinstance(error, SystemExit) else told(error)
            message = text.removeprefix("mtlzoo fit: error: ")
            model = next(option.line for option in options if option.name == "model")
            raise WrongFileError(self.path, culprit(message, options) or model, message) from None

    def _look(self, words: list[str]) -> Rehearsal:
        if self._rehearsal is None:
            self._rehearsal = Rehearsal(words)
        else:
            self._rehearsal.again(words)
        return self._rehearsal


def _meaning(rehearsal: Rehearsal) -> Checked:
    options = rehearsal.options
    config = plain(options)
    arguments: dict[str, Any] = config["data"]["init_args"]
    if arguments.get("root") is not None:  # the same files from whatever folder a comparison is started in
        arguments["root"] = str(Path(arguments["root"]).expanduser().resolve())
    data = import_class(options.data.class_path)(**options.data.init_args.as_dict())
    tasks = [task.name for task in Plan(data.recipe).provisional().tasks]
    return Checked(describe(options)["run_name"].removesuffix(f"-s{options.seed_everything}"), config, tasks)
