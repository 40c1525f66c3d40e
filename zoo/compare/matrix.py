"""The cells of a comparison: which there are, which are wanted now, what each runs."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mtlzoo.compare.comparison import PLAIN, Comparison, combined
from mtlzoo.compare.lines import WrongFileError
from mtlzoo.compare.options import Option, words_of

APART = ("config", "ckpt_path", "all_metrics", "keep_rows")
"""Options of a command that its run does not depend on."""


@dataclass(frozen=True)
class Checked:
    """What the command line makes of the words of a cell.

    Args:
        run_name: Of its run, without the seed.
        config: All options, defaults included, plain.
        tasks: Names of the tasks, in the order of the losses.
    """

    run_name: str
    config: Mapping[str, Any]
    tasks: Sequence[str]


@dataclass(frozen=True)
class Contender:
    """What is compared: a model and a rule on a data set, which several seeds repeat.

    Args:
        data: Name of the data set.
        model: Name of the model.
        rule: Name of the rule, ``sum`` without one.
        options: Of ``mtlzoo fit``: of every run, of the data set, of the model.
        rule_options: Of the rule; they come last, as they mean the last callback.
        weights: Of the tasks' losses, where it is a point of the scalarisation frontier.
    """

    data: str
    model: str
    rule: str
    options: tuple[Option, ...]
    rule_options: tuple[Option, ...] = ()
    weights: Mapping[str, float] | None = field(default=None, hash=False)

    @property
    def name(self) -> str:
        """``MMoE``, ``MMoE + PCGrad``, or with the weights of a point of the frontier."""
        if self.weights:
            return f"{self.model}, {' '.join(f'{task} {weight:.3g}' for task, weight in self.weights.items())}"
        return self.model if self.rule == PLAIN else f"{self.model} + {self.rule}"

    def fit_options(self, chosen: Sequence[Option], seed: int) -> tuple[Option, ...]:
        """Options of ``mtlzoo fit`` with those of the search."""
        return (*self.options, *chosen, *self.rule_options, Option("seed_everything", str(seed)))


@dataclass(frozen=True)
class Cell:
    """One training, and its test.

    Args:
        contender: What it is a repetition of.
        seed: Of everything.
        chosen: Options of the search.
        folder: Name of its folder: cells of any comparison that run the same have the same.
        tests: Whether it is tested; a cell that is there for the search alone is not.
    """

    contender: Contender
    seed: int
    chosen: tuple[Option, ...]
    folder: str
    tests: bool

    @property
    def options(self) -> tuple[Option, ...]:
        """Options of ``mtlzoo fit``."""
        return self.contender.fit_options(self.chosen, self.seed)

    @property
    def words(self) -> list[str]:
        """Words after ``mtlzoo fit``, but for its folder."""
        return words_of(self.options)


class Matrix:
    """All cells of a comparison.

    Args:
        comparison: What a file asks for.
        check: Refuses options that can't work with a `WrongFileError`; else says what they mean.
    """

    def __init__(self, comparison: Comparison, check: Callable[[Sequence[Option]], Checked]) -> None:
        self.comparison = comparison
        self._check = check
        self._checked: dict[tuple[Option, ...], Checked] = {}
        self.contenders = list(self._contenders())
        for contender in self.contenders:
            for chosen in comparison.grid:
                self._meaning(contender, chosen)

    def __len__(self) -> int:
        """Cells in all."""
        final = {(c, seed) for c in self.contenders for seed in self.comparison.seeds}
        searched = len(self.contenders) * len(self.comparison.grid) * len(self.comparison.tuning_seeds)
        shared = len(self.contenders) * len(set(self.comparison.tuning_seeds) & set(self.comparison.seeds))
        return len(final) + (searched - shared if self.tunes else 0)

    @property
    def tunes(self) -> bool:
        """Whether options are searched for."""
        return len(self.comparison.grid) > 1

    def searched(self, contender: Contender) -> list[Cell]:
        """The cells that a contender's options are chosen by."""
        found = [(chosen, seed) for chosen in self.comparison.grid for seed in self.comparison.tuning_seeds]
        return [self._cell(contender, seed, chosen, tests=False) for chosen, seed in found] if self.tunes else []

    def chosen(self, contender: Contender, score: Callable[[Cell], float | None]) -> tuple[Option, ...] | None:
        """The combination with the best mean score of validation; the first of those that are equal.

        Args:
            contender: Whose options are searched for.
            score: Of a cell, larger is better, ``-inf`` for one that failed; None for one that is not done.

        Returns:
            None while cells are to be run, and where all of them failed.
        """
        if not self.tunes:
            return self.comparison.grid[0]
        scores: dict[tuple[Option, ...], list[float]] = {}
        for cell in self.searched(contender):
            found = score(cell)
            if found is None:
                return None
            scores.setdefault(cell.chosen, []).append(found)
        means = {chosen: sum(each) / len(each) for chosen, each in scores.items()}
        best = max(means, key=lambda chosen: means[chosen])
        return best if means[best] > -math.inf else None

    def finals(self, contender: Contender, chosen: tuple[Option, ...]) -> list[Cell]:
        """The cells whose tests are compared."""
        return [self._cell(contender, seed, chosen, tests=True) for seed in self.comparison.seeds]

    def wanted(self, score: Callable[[Cell], float | None]) -> list[Cell]:
        """What is to be run, or is done, as far as is known: the search, then seed by seed."""
        cells = [cell for contender in self.contenders for cell in self.searched(contender)]
        choices = [(contender, self.chosen(contender, score)) for contender in self.contenders]
        rows = [self.finals(contender, chosen) for contender, chosen in choices if chosen is not None]
        cells += [cell for column in zip(*rows, strict=True) for cell in column]
        return list({cell.folder: cell for cell in cells}.values())  # the final ones win

    # ---- what there is

    def _contenders(self) -> Iterator[Contender]:
        common = self.comparison.common
        for data, model, rule, weights in combined(self.comparison):
            options = (*common, *data.options, *model.options)
            contender = Contender(data.name, model.name, PLAIN, options)
            if rule is not None:
                contender = replace(contender, rule=rule.name, rule_options=rule.options)
            yield contender if weights is None else self._weighted(contender, weights)

    def _weighted(self, contender: Contender, weights: Mapping[str, float]) -> Contender:
        tasks = self._meaning(contender, self.comparison.grid[0]).tasks
        line = self.comparison.frontier_line
        if others := [task for task in weights if task not in tasks]:
            raise WrongFileError(
                self.comparison.path, line, f"frontier: {others} are no tasks of {contender.data}: {list(tasks)}."
            )
        numbers = json.dumps([weights.get(task, 1.0) for task in tasks])
        rule = [("trainer.callbacks+", "LossBalancing"), ("trainer.callbacks.rule", "FixedWeights")]
        more = [Option(name, value, line) for name, value in [*rule, ("trainer.callbacks.rule.weights", numbers)]]
        return replace(contender, rule_options=tuple(more), weights=dict(weights))

    def _meaning(self, contender: Contender, chosen: tuple[Option, ...]) -> Checked:
        options = contender.fit_options(chosen, self.comparison.seeds[0])
        if options not in self._checked:
            self._checked[options] = self._check(options)
        return self._checked[options]

    def _cell(self, contender: Contender, seed: int, chosen: tuple[Option, ...], *, tests: bool) -> Cell:
        meaning = self._meaning(contender, chosen)
        folder = f"{meaning.run_name}-s{seed}-{digest(meaning.config, seed)}"
        return Cell(contender, seed, chosen, folder, tests)


def digest(config: Mapping[str, Any], seed: int) -> str:
    """Eight letters that differ where two runs do, by all their options but where they write and what they log to."""
    trainer = {name: value for name, value in config["trainer"].items() if name not in ("default_root_dir", "logger")}
    others = {name: value for name, value in config.items() if name not in APART}
    text = json.dumps({**others, "trainer": trainer, "seed_everything": seed}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
