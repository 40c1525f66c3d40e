"""What rows share is prepared once per row of its table, and comes out as if it had been joined before."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from fixtures.aliccp import write_aliccp
from mtlzoo.datamodules import AliCCP
from mtlzoo.datamodules.columns import CategoricalColumn, GivenSplit, Label, NumericColumn, Recipe, SequenceColumn
from mtlzoo.datamodules.prepare import prepare
from mtlzoo.datamodules.prepare.encoding import Encoding
from mtlzoo.datamodules.prepare.joined import Frame, Joined

RECIPE = Recipe(
    columns=(
        CategoricalColumn("user", min_count=3),
        CategoricalColumn("item"),
        SequenceColumn("past", 3, min_count=2, keep="last"),
        SequenceColumn("tags", 2, table="item"),
        CategoricalColumn("far"),
        NumericColumn("age"),
    ),
    labels=(Label("click"),),
    split=GivenSplit("split"),
    user="user",
    item="item",
    group="user",
    ids=("number",),
)


def frames(size: int = 40) -> Iterator[Joined]:
    """Rows of two tables; what is a column of the first table is the rows' own with the second."""
    random = np.random.default_rng(0)

    def lists(rows: int) -> pl.Series:
        return pl.Series([random.integers(0, 30, random.integers(0, 6)).tolist() for _ in range(rows)], dtype=INTS)

    def some(rows: int, most: int) -> pl.Series:
        values = random.integers(0, most, rows).tolist()
        return pl.Series([None if random.random() < 0.1 else value for value in values], dtype=pl.Int32)

    start = 0
    for part, known in enumerate((("user", "past", "far", "age"), ("user", "tags"))):
        rows = 25
        user = pl.Series(random.integers(0, 20, rows), dtype=pl.Int32)
        columns = {"user": user, "past": lists(rows), "tags": lists(rows), "age": some(rows, 60)}
        columns["far"] = some(rows, 40) * 50_000_000
        table = pl.DataFrame({name: columns[name] for name in known})
        for _ in range(4):
            places = random.integers(0, rows - 3, size).astype(np.int32)  # nobody has the last three
            own = {"past": lists(size), "tags": lists(size), "age": some(size, 60), "far": some(size, 40) * 50_000_000}
            split = random.choice(["train", "val", "test"] if part else ["train", "val"], size)
            plain = {"number": np.arange(start, start + size), "click": random.integers(0, 2, size), "split": split}
            yield Joined(
                pl.DataFrame(plain | {"item": some(size, 30)} | {name: own[name] for name in own if name not in known}),
                table,
                places,
            )
            start += size


INTS = pl.List(pl.Int32)


def plainly() -> Iterator[Frame]:
    names = [*next(frames()).columns, "tags"]
    return (frame.plain([*dict.fromkeys(names)]) for frame in frames())


def contents(folder: Path) -> dict[str, bytes]:
    """All files but those that tell times."""
    told = ("manifest.json", "checksums.json")
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name not in told}


# A chunk never has rows of two tables; where those of the joined rows end elsewhere, sums of floats may differ.
@pytest.mark.parametrize("chunk", [160, 64, 7])
def test_the_same_bytes_as_when_joined_before(tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtlzoo.datamodules.prepare.build.CHUNK", chunk)
    prepare(RECIPE, plainly, tmp_path / "plain", name="x")
    prepare(RECIPE, frames, tmp_path / "joined", name="x")
    assert contents(tmp_path / "joined") == contents(tmp_path / "plain")
    assert len(contents(tmp_path / "plain")) > 15


def test_the_same_bytes_by_a_former_encoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtlzoo.datamodules.prepare.build.CHUNK", 160)
    prepare(RECIPE, plainly, tmp_path / "first", name="x")
    like = Encoding(tmp_path / "first")
    for name, read in (("plain", plainly), ("joined", frames)):
        prepare(RECIPE, read, tmp_path / name, name="x", like=like)
    assert contents(tmp_path / "joined") == contents(tmp_path / "plain")


def test_columns_that_are_joined_and_picked() -> None:
    joined = Joined(pl.DataFrame({"a": [1, 2, 3]}), pl.DataFrame({"b": [7, 8]}), np.asarray([1, 0, 1], np.int32))
    assert joined.columns == ["a", "b"]
    assert joined.plain(["b", "a"]).to_dict(as_series=False) == {"b": [8, 7, 8], "a": [1, 2, 3]}
    assert joined.slice(1, 5).plain(["b"])["b"].to_list() == [7, 8]
    assert len(joined.slice(2, 5)) == 1


@pytest.mark.parametrize("values", [["x"], [0.5], [["x"]]])
def test_a_table_of_what_may_be_refused_by_row_is_refused(values: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"column 'b' of the table holds .*; allowed are whole numbers"):
        Joined(pl.DataFrame({"a": [1]}), pl.DataFrame({"b": values}), np.zeros(1, np.int32))


@pytest.mark.parametrize(
    "arguments", [{}, {"fields": ["shop_id"]}, {"fields": ["gender", "shop_history"], "sequences": {"gender": 2}}]
)
def test_aliccp_is_as_if_joined_before(tmp_path: Path, arguments: dict[str, Any]) -> None:
    root = write_aliccp(tmp_path / "raw")
    first, second = (AliCCP(root, min_count=2, prepared=tmp_path / name, **arguments) for name in ("one", "other"))
    second.read = second.read  # type: ignore[method-assign]  # whoever replaces it is heard
    for module in (first, second):
        module.prepare_data()
    assert first.folder.name == second.folder.name
    assert contents(first.folder) == contents(second.folder)
