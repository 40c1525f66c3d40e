"""Every value in a column of the publishers' files is read, missing, or refused with file, line and column."""

import csv
import io
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from domains import of_shops, of_videos
from domains.file import File
from domains.of_shops import CENSUS
from domains.of_videos import (
    KUAI_USER,
    KUAIRAND_LOG,
    KUAIRAND_VIDEO,
    KUAIREC_MATRIX,
    KUAIREC_SMALL,
    KUAIREC_VIDEO,
    TENREC_ARTICLE,
    TENREC_VIDEO,
    TIKTOK,
)

from mtlzoo.datamodules import DataError, MultiTaskDataModule, census, kuairand, kuairec, tenrec, tiktok
from mtlzoo.datamodules.aliexpress import NAMES

LINE = 5
"""Of the file; it is changed."""
FILES = of_videos.FILES | of_shops.FILES


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """A written folder per way of writing."""
    return {}


@pytest.mark.parametrize(
    ("name", "column"), [(name, column) for name, file in FILES.items() for column in file.columns]
)
def test_values_nothing_and_refusals(
    name: str, column: str, folders: dict[int, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file, values = FILES[name], FILES[name].columns[column]
    root = folders.get(id(file.build))
    if root is None:
        root = folders[id(file.build)] = tmp_path_factory.mktemp("raw")
        file.build(root)
    data, path = file.data(root), root / file.path
    text = path.read_text()
    try:
        for value, expected in values.good.items():
            path.write_text(_changed(text, file, column, value))
            assert expected in _read(data, NAMES.get(column, column)), (value, expected)
        for value in values.bad:
            path.write_text(_changed(text, file, column, value))
            with pytest.raises(DataError) as caught:
                _read(data, column)
            message = str(caught.value)
            assert path.name in message, (value, message)
            assert f"line {LINE}" in message or "AliCCP" in name, (value, message)
            assert repr(column) in message or "fields" in message or "announced" in message, (value, message)
    finally:
        path.write_text(text)


def test_every_column_that_is_declared_is_tested() -> None:
    assert KUAIRAND_LOG.keys() == kuairand.LOG.keys()
    assert KUAI_USER.keys() == {*kuairand.USER, "user_id"}
    assert KUAIRAND_VIDEO.keys() == {*kuairand.VIDEO, "video_id"}
    assert KUAIREC_MATRIX.keys() == KUAIREC_SMALL.keys() == kuairec.MATRIX.keys()
    assert KUAIREC_VIDEO.keys() == {*kuairec.VIDEO, "video_id"}
    assert TENREC_VIDEO.keys() == tenrec.SCENARIOS["ctr_data_1M"].domains.keys()
    assert TENREC_ARTICLE.keys() == tenrec.SCENARIOS["QK-article"].domains.keys() - {*tenrec.HISTORY}
    assert TIKTOK.keys() == set(tiktok.NAMES)
    assert CENSUS.keys() == set(census.NAMES)


def _read(data: MultiTaskDataModule, column: str) -> list[Any]:
    rows = pl.concat(data.read())
    if column == "item_49":
        return (rows["click"].cast(pl.Int8) + rows["conversion"].cast(pl.Int8)).to_list()
    values = rows[column]
    return (values.cast(pl.Float64).round(9) if values.dtype == pl.Float32 else values).to_list()


def _changed(text: str, file: File, column: str, value: str) -> str:
    """The text with a value of its line `LINE` exchanged."""
    lines = text.splitlines()
    names = list(file.header) or lines[0].split(file.separator)
    if len(file.separator) == 1:
        (fields,) = csv.reader([lines[LINE - 1]], delimiter=file.separator)
        fields[names.index(column)] = value
        out = io.StringIO()
        csv.writer(out, delimiter=file.separator, lineterminator="").writerow(fields)
        lines[LINE - 1] = out.getvalue()
    else:
        fields = lines[LINE - 1].split(file.separator)
        fields[names.index(column)] = value
        lines[LINE - 1] = file.separator.join(fields)
    return "\n".join(lines) + "\n"
