"""What came of a damaged file: refused in words, the same data, or what valid values changed; all else is wrong."""

import copy
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

import mtlzoo.datamodules
from fuzz.fixture import Published
from fuzz.forms import Form, Rows, Table
from fuzz.values import InvalidError
from mtlzoo.datamodules import DataError, DatasetNotFoundError, MultiTaskDataModule, RankingDataModule
from mtlzoo.datamodules.prepare.joined import Joined

PACKAGE = str(Path(mtlzoo.datamodules.__file__).parent)


@dataclass
class Data:
    """What a data module made of its files.

    Args:
        rows: As `read` yields them.
        links: As `read_links` does, by name.
        dropped: Rows that it says it left out.
    """

    rows: pl.DataFrame
    links: dict[str, pl.DataFrame] = field(default_factory=dict)
    dropped: int = 0


def prepared(template: MultiTaskDataModule, root: Path, cache: Path) -> Data:
    """Prepares the files in `root` and says what was read of them."""
    module = copy.deepcopy(template)
    module.root, module.prepared = root, cache
    frames: list[pl.DataFrame] = []
    links: dict[str, list[pl.DataFrame]] = {}

    def watched(frames: list[pl.DataFrame], read: Iterator[Any]) -> Iterator[Any]:
        for frame in read:
            frames.append(frame.plain(sorted(frame.columns)) if isinstance(frame, Joined) else frame)
            yield frame

    inner = copy.copy(module)  # links may read the rows again, past what is put in place here
    reader = "read_joined" if hasattr(inner, "read_joined") else "read"
    setattr(module, reader, lambda: watched(frames, getattr(inner, reader)()))
    if isinstance(inner, RankingDataModule):
        ranking = inner
        module.read_links = lambda name: watched(links.setdefault(name, []), ranking.read_links(name))  # type: ignore
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what the package says of data that are right, but odd
        module.prepare_data()
    manifest = module.data.manifest
    assert sum(manifest["rows"].values()) == sum(map(len, frames)), "rows vanish after they were read"
    rows = pl.concat(frames, how="vertical_relaxed")
    return Data(
        rows.drop(module.origin),  # where a row is from changes with every line before it
        {name: pl.concat(parts) for name, parts in links.items() if parts},
        sum(manifest["dropped"].values()),
    )


def refusal(error: BaseException) -> str:
    """Empty where the error is one of ours in words; else what it is."""
    if isinstance(error, DataError | DatasetNotFoundError):
        return "" if len(str(error)) > 20 else f"says nothing: {error!r}"
    last = traceback.extract_tb(error.__traceback__)[-1].filename
    if isinstance(error, ValueError) and last.startswith(PACKAGE):
        return ""
    return "".join(traceback.format_exception(error))[-1500:]


def difference(published: Published, form: Form, old: bytes, new: bytes, before: Data, after: Data, root: Path) -> str:
    """Empty where the data differ by what valid values changed alone; else what is wrong.

    Cells are right if an own slow reader takes them for what the publisher writes. Then rows may differ where lines do:
    as many as there are other lines, or those whose key is in other lines.
    """
    try:
        lines, others = form.rows(old), form.rows(new)
    except InvalidError as error:
        return f"taken, though no publisher writes it: {error}"
    gone, come = Counter(lines) - Counter(others), Counter(others) - Counter(lines)
    rows, changed = (_counted(data.rows, published) for data in (before, after))
    if form.role == "rows":
        lost = len(before.rows) + before.dropped - len(after.rows) - after.dropped
        factor = len(before.rows) // sum(rows.values())
        if lost != (len(lines) - len(others)) * factor:
            return f"{lost} rows lost, where {len(lines) - len(others)} lines are"
        return (
            _more(rows - changed, gone, "rows")
            or _more(changed - rows, come, "rows")
            or _links(published, before, after, gone, come)
        )
    keys = _keys(published, form, gone + come, root)
    if form.role == "table":
        column = form.frame or form.key
        rest = [_counted(data.rows.filter(~_among(data.rows[column], keys)), published) for data in (before, after)]
        return _same(rest[0], rest[1], f"rows of other {column}")
    if rows != changed:
        return "rows differ, though only links were changed"
    for name in before.links.keys() - set(published.free):
        tables = [data.links[name] for data in (before, after)]
        kept = [Counter(map(repr, table.filter(~_among(table[:, 0], keys)).rows())) for table in tables]
        if problem := _same(kept[0], kept[1], f"links {name}"):
            return problem
    return ""


def _keys(published: Published, form: Form, lines: Counter[Any], root: Path) -> set[str]:
    """What names the rows, or the links, that other lines may change."""
    keys = {_plain(line[form.place]) for line in lines}
    if not form.through:
        return keys
    between = published.forms[form.through]
    assert isinstance(between, Table)
    (path,) = root.rglob(f"{form.through}*")
    one, other = (list(between.columns).index(name) for name in (form.key, form.frame))
    return {_plain(line[other]) for line in between.rows(path.read_bytes()) if _plain(line[one]) in keys}


def _links(published: Published, before: Data, after: Data, gone: Counter[Any], come: Counter[Any]) -> str:
    for name in before.links:
        one, other = (Counter(map(repr, data.links[name].rows())) for data in (before, after))
        if problem := _more(one - other, gone, f"links {name}") or _more(other - one, come, f"links {name}"):
            return problem
    return ""


def _counted(frame: pl.DataFrame, published: Published) -> Counter[str]:
    if published.real:
        frame = frame.filter(pl.col(published.real) == 1)
    return Counter(map(repr, frame.drop(published.ignored, strict=False).rows()))


def _more(differing: Counter[str], lines: Counter[Any], what: str) -> str:
    found, allowed = sum(differing.values()), sum(lines.values())
    return f"{found} {what} differ, {allowed} lines do: {list(differing)[:2]}" if found > allowed else ""


def _same(one: Counter[str], other: Counter[str], what: str) -> str:
    return "" if one == other else f"{what} differ: {list((one - other) + (other - one))[:2]}"


def _plain(cell: str) -> str:
    cell = cell.strip("'\"")
    return str(int(cell)) if cell.lstrip("-").isascii() and cell.lstrip("-").isdigit() else cell


def _among(values: pl.Series, keys: set[str]) -> pl.Series:
    return values.cast(pl.String).is_in(list(keys)).fill_null(False)


__all__ = ("Data", "Rows", "difference", "prepared", "refusal")
