"""Which results may stand in one table: of the same prepared data, split and version of mtlzoo."""

from collections.abc import Sequence

from mtlzoo.compare.results import Result

KIND = ("data fingerprint", "rows", "mtlzoo")
"""What must be the same."""


def by_data(results: Sequence[Result], *, apart: bool = False) -> dict[str, list[Result]]:
    """The results by name of the data set, in order.

    Args:
        results: Finished cells.
        apart: Give those of other data, splits or versions a name of their own, which says what is theirs.

    Raises:
        ValueError: Results of one data set that can't be compared, without `apart`; two of one contender and seed.
    """
    found: dict[str, list[Result]] = {}
    for data in dict.fromkeys(result.data for result in results):
        cells = [result for result in results if result.data == data]
        kinds = list(dict.fromkeys(_kind(cell) for cell in cells))
        own = ["; ".join(_own(kind, kinds)) for kind in kinds]
        if len(kinds) > 1 and not apart:
            raise ValueError(
                f"{data}: these results can't stand in one table, as they are of {' | '.join(own)}. Run again those "
                "that are out of date, or ask for them to be shown apart."
            )
        for kind, words in zip(kinds, own, strict=True):
            found[f"{data} ({words})" if words else data] = [cell for cell in cells if _kind(cell) == kind]
    for data, cells in found.items():
        runs = [(cell.name, cell.seed) for cell in cells]
        if twice := sorted({run for run in runs if runs.count(run) > 1}):
            raise ValueError(f"{data}: several results of one contender and seed, {twice[:3]}. Leave all but one out.")
    return found


def _kind(cell: Result) -> tuple[str, ...]:
    rows = " ".join(f"{split} {number}" for split, number in sorted(cell.record["rows"].items()))
    return str(cell.record["data_fingerprint"]), rows, str(cell.record["versions"]["mtlzoo"])


def _own(kind: tuple[str, ...], kinds: Sequence[tuple[str, ...]]) -> list[str]:
    """Where a kind is not as all others."""
    differ = [len({other[place] for other in kinds}) > 1 for place in range(len(KIND))]
    return [f"{name} {value}" for name, value, differs in zip(KIND, kind, differ, strict=True) if differs]
