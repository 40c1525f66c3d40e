"""What a comparison compares with what."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from mtlzoo.compare.options import Option

PLAIN = "sum"
"""Name of training without a rule."""


@dataclass(frozen=True)
class Part:
    """A data set, a model or a rule, as the comparison calls it.

    Args:
        name: How tables call it.
        options: What it adds to ``mtlzoo fit``.
        line: Of its entry.
    """

    name: str
    options: tuple[Option, ...]
    line: int


@dataclass(frozen=True)
class Comparison:
    """What a file asks for.

    Args:
        path: The file.
        data: Data sets.
        models: Models, without the baseline where the file does not list it.
        rules: Ways to weigh tasks; None trains on the plain sum.
        seeds: Of weights, draws and the order of rows.
        common: Options of every run.
        grid: Combinations of options that are tried; one empty combination without a search.
        tuning_seeds: Seeds of the search.
        baseline: The model that all are compared with, without a rule; None compares with none.
        lattice: Weights by task of the built-in baselines; see `simplex`.
        frontier_line: Where the file asks for these; 0 where it does not.
    """

    path: Path
    data: tuple[Part, ...]
    models: tuple[Part, ...]
    rules: tuple[Part | None, ...]
    seeds: tuple[int, ...]
    common: tuple[Option, ...]
    grid: tuple[tuple[Option, ...], ...]
    tuning_seeds: tuple[int, ...]
    baseline: Part | None
    lattice: tuple[Mapping[str, float], ...]
    frontier_line: int


def simplex(tasks: list[str], points: int) -> tuple[dict[str, float], ...]:
    """Weights on a lattice of the simplex, none of them 0 and their mean 1: ``points`` of them for two tasks.

    For more tasks the lattice has the same distance between neighbours.
    """
    steps = points + 1
    inner = (point for point in product(range(1, steps), repeat=len(tasks)) if sum(point) == steps)
    scale = len(tasks) / steps
    return tuple({t: round(n * scale, 6) for t, n in zip(tasks, point, strict=True)} for point in inner)


def combined(comparison: Comparison) -> Iterator[tuple[Part, Part, Part | None, Mapping[str, float] | None]]:
    """Data set, model, rule and weights of all that is compared, the baseline first."""
    for data in comparison.data:
        base = comparison.baseline
        if base is not None and not (base in comparison.models and None in comparison.rules):
            yield data, base, None, None
        for model, rule in product(comparison.models, comparison.rules):
            yield data, model, rule, None
        for model, weights in product(comparison.models, comparison.lattice):
            if model != base:
                yield data, model, None, weights
