from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from mtlzoo.datamodules import RandomSplit, UserSplit
from mtlzoo.datamodules.columns import Split
from mtlzoo.datamodules.logs.split_column import assigned
from mtlzoo.datamodules.prepare.splitting import splitter

FRAME = pl.DataFrame({"user": [f"u{row * row % 13}" for row in range(300)], "row": range(300)})


def read() -> Iterator[pl.DataFrame]:
    """Rows in frames of several sizes, some of them empty."""
    yield from (FRAME[:0], *FRAME.iter_slices(41), FRAME[:0])


@pytest.mark.parametrize("split", [RandomSplit(0.2, 0.3, 5), UserSplit("user", val=0.2, test=0.2, seed=3)])
def test_splits_are_those_of_the_declaration_however_rows_come(tmp_path: Path, split: Split) -> None:
    whole = splitter(split, tmp_path / "whole")
    whole.add(FRAME, range(1, 301))
    whole.finish()
    expected = [whole.names[code] for code in whole.codes(range(1, 301))]
    found = pl.concat(assigned(read, split, tmp_path / "prepared"))
    assert found["split"].to_list() == expected
    assert found.drop("split").equals(FRAME)
    assert set(expected) == {"train", "val", "test"}


def test_what_waits_is_named_for_the_next_preparation_and_removed_at_the_end(tmp_path: Path) -> None:
    rows = assigned(read, RandomSplit(0.2, 0.2, 0), tmp_path / "made" / "Data-12")
    next(rows)
    (waiting,) = (tmp_path / "made").iterdir()
    assert waiting.name.startswith(".Data-12.")
    assert waiting.name.endswith(".partial")
    for _ in rows:
        pass
    assert not list((tmp_path / "made").iterdir())
