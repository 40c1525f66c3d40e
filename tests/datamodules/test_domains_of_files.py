"""What every column of the publishers' files may hold: a value, nothing, or a refusal with file, line and column."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fixtures.aliccp import write_aliccp
from fixtures.aliexpress import write_aliexpress
from fixtures.census import write_census
from fixtures.kuairand import write_kuairand
from fixtures.kuairec import write_kuairec
from fixtures.tenrec import write_tenrec
from fixtures.tiktok import write_tiktok
from mtlzoo.datamodules import (
    AliCCP,
    AliExpress,
    CensusIncome,
    DataError,
    KuaiRand,
    KuaiRec,
    MultiTaskDataModule,
    Tenrec,
    TikTok,
    census,
    kuairand,
    kuairec,
    tenrec,
    tiktok,
)
from mtlzoo.datamodules.aliexpress import CODES, ITEM, NAMES, NUMBERS, USER

LINE = 5
"""Of the file; it is changed."""
SPELT = ["0x1", "one", "nan"]
"""Some of what int() or polars may take for a number and no publisher writes; test_reading.py has more."""


@dataclass(frozen=True)
class Values:
    """Texts that a column may hold with what is read, None where it is missing, and texts that it may not hold."""

    good: Mapping[str, Any]
    bad: Sequence[str]


ID = Values({"0": 0, "123456": 123456}, ["", "-1", "-124", "1.5", "1.0", "1e3", *SPELT])
FLAG = Values({"0": 0, "1": 1}, ["", "2", "-1", "0.5", "1.0", "true", "yes", *SPELT])
CODE = Values({"": None, "-124": -124, "7": 7, "7.0": 7}, ["-1", "-125", "1.5", "1e30", *SPELT])
COUNT = Values({"": None, "0": 0, "7.0": 7}, ["-1", "-124", "1e39", *SPELT])
NAME = Values({"": None, "anything": "anything"}, [])
DAYS = ["", "0", "-1", "20229999", "20220431", "20220230", "2022-04-20", "20210420", "20230420", "x", *SPELT]

KUAIRAND_LOG = {
    "user_id": ID,
    "video_id": ID,
    "date": Values({"20220408": 20220408, "20220508": 20220508}, [*DAYS, "20220407", "20220509", "20220420.0"]),
    "hourmin": Values({"0": 0, "1830": 1830, "2300": 2300}, ["", "-1", "99", "60", "2400", "2460", "9999", *SPELT]),
    "time_ms": Values(
        {"1649400000000": 1649400000000, "1652000000000": 1652000000000},
        ["", "0", "-1", "1649400000", "1649400000000000", "1680000000000", *SPELT],
    ),
    "tab": Values({"0": 0, "14": 14}, ["", "-1", "15", "1.0", *SPELT]),
    **dict.fromkeys(kuairand.BINARY, FLAG),
    "play_time_ms": Values({"0": 0, "900000": 900000}, ["", "-1", "1.5", *SPELT]),
}
KUAI_USER = {
    **dict.fromkeys(kuairand.USER_NAMES, NAME),
    **dict.fromkeys(kuairand.USER_CODES, CODE),
    **dict.fromkeys(kuairand.USER_COUNTS, COUNT),
    "user_id": Values({}, ID.bad),
}
SOME_USER = {name: KUAI_USER[name] for name in ("user_active_degree", "onehot_feat17", "fans_user_num", "user_id")}
KUAIRAND_VIDEO = {
    "video_type": NAME,
    "upload_type": NAME,
    **dict.fromkeys(kuairand.VIDEO_CODES, CODE),
    "video_duration": COUNT,
    "tag": Values({"": None, "3": "3", "3,62,42": "3,62,42"}, ["x", "3,", "3;4", "3, 4", "1.5", "\u0661", "[3]"]),
    "video_id": Values({}, ID.bad),
}
SOME_TIME = "2020-07-09 23:59:59.999"
KUAIREC_MATRIX = {
    "user_id": ID,
    "video_id": ID,
    "play_duration": COUNT,
    "video_duration": COUNT,
    "time": Values(
        {"": None, SOME_TIME: SOME_TIME, "2020-07-09 00:00:00": "2020-07-09 00:00:00"},
        [
            "2020-07-09",
            "12:00",
            "x",
            *(f"2020-07-09 {time}" for time in ("24:00:00", "-1:00:00", "12:60:00", "9:00:00")),
        ],
    ),
    "date": Values({"20200709": 20200709, "20200709.0": 20200709}, ["20200631", "20200709.5", "20220709", *DAYS]),
    "timestamp": Values({"": None, "1594200000.5": 1594200000.5}, ["0", "-1", "1594200000500", "1.7e9", *SPELT]),
    "watch_ratio": Values({"": None, "0.0": 0, "5.7e-05": 5.7e-05}, ["-0.1", "1e39", *SPELT]),
}
KUAIREC_SMALL = KUAIREC_MATRIX | {"date": Values({"": None, "20200709.0": 20200709}, KUAIREC_MATRIX["date"].bad[:2])}
KUAIREC_VIDEO = {
    **dict.fromkeys(kuairec.VIDEO_NAMES, NAME),
    **dict.fromkeys(kuairec.VIDEO_CODES, CODE),
    "video_id": Values({}, ID.bad),
}
KUAIREC_CATEGORIES = {
    "video_id": Values({}, ID.bad),
    "feat": Values(
        {"": None, "[]": [], "[27, 9]": [27, 9]},
        [
            "27",
            "[-1]",
            "[1.5]",
            "[27 9]",
            "(27, 9)",
            "[27, 9",
            "['27']",
            "[\u0661]",
            "[0x1]",
            "[12345678901]",
            "[27,, 9]",
        ],
    ),
}
TENREC_CODE = Values({r"\N": None, "": None, "0": 0, "7": 7}, ["-1", "1.5", "1.0", *SPELT])
TENREC_FLAG = Values({r"\N": None, "0": 0, "1.0": 1}, ["2", "-1", "0.5", "true", *SPELT])
TENREC_AMOUNT = Values({r"\N": None, "0": 0, "2.5": 2.5}, ["-1", "1e39", *SPELT])
TENREC_VIDEO = {
    "user_id": Values({"7": 7}, [r"\N", *ID.bad]),
    "item_id": Values({"7": 7}, [r"\N", *ID.bad]),
    **dict.fromkeys(("video_category", "gender", "age"), TENREC_CODE),
    **dict.fromkeys(tenrec.HISTORY, Values({r"\N": None, "0": 0, "7": 7}, TENREC_CODE.bad)),
    **dict.fromkeys(("click", "like", "share", "follow"), TENREC_FLAG),
    "watching_times": TENREC_AMOUNT,
}
POINTS = Values({r"\N": None, "3": 3, "3.0": 3}, ["-1", "1.5", "1e30", *SPELT])
TENREC_ARTICLE = {
    **dict.fromkeys(("user_id", "item_id"), Values({"7": 7, "7.0": 7}, [r"\N", "", *POINTS.bad])),
    **dict.fromkeys(("category_first", "category_second", "gender", "age"), POINTS),
    **dict.fromkeys(("click", "read", "like", "share", "follow", "favorite"), TENREC_FLAG),
    **dict.fromkeys(("read_percentage", "read_time"), TENREC_AMOUNT),
}
TIKTOK = {
    **dict.fromkeys(tiktok.NAMES, Values({"-1": None, "0": 0, "53085993699": 53085993699}, ["-2", "1.0", *SPELT])),
    **dict.fromkeys(("finish", "like"), Values({"-1": None, "0": 0, "1": 1}, ["2", "-2", "1.0", "true", *SPELT])),
    "uid": Values({"0": 0, "57384": 57384}, ["-1", "-2", "", "1.0", *SPELT]),
}
TEXT = Values({"?": "?", "Not in universe": "Not in universe"}, [""])
CENSUS = {
    **dict.fromkeys(census.NAMES, TEXT),
    **dict.fromkeys(census.NUMBERS, Values({"0": 0, "38": 38}, ["", "?", "-1", "1.5", *SPELT])),
    "det_ind_code": Values({"0": "0", "51": "51"}, ["", "-1", "52", "07", "1.0", "?", "x"]),
    "det_occ_code": Values({"0": "0", "46": "46"}, ["", "-1", "47", "07", "1.0", "?", "x"]),
    "own_or_self": Values({"2": "2"}, ["", "3", "-1", "?"]),
    "vet_benefits": Values({"2": "2"}, ["", "3", "-1", "?"]),
    "year": Values({"94": "94", "95": "95"}, ["", "96", "1994", "?"]),
    "instance_weight": Values({"1032.38": 1032.38}, ["", "?", "-1", "1e39", "nan", "inf", "0x1", "x"]),
    "education": Values(
        {name: name for name in census.EDUCATIONS},
        ["", "?", "Not in universe", "CHILDREN", "children", "Bachelors degree (BA AB BS)", "Bachelors", "Child"],
    ),
    "marital_stat": Values(
        {name: name for name in census.MARITAL},
        ["", "?", "NEVER MARRIED", "Never-married", "Never  married", "Never married.", "Single", "Divorce"],
    ),
    "income_50k": Values({"- 50000.": "- 50000.", "50000+.": "50000+."}, ["", "?", "50000+", "-50000.", "- 5000", "0"]),
}
ALI_CODE = Values({"": None, "7": 7, "7.0": 7, "2147483647": 2**31 - 1}, ["-1", "1.5", "2147483648", *SPELT])
ALI_NUMBER = Values({"": None, "-2.5": -2.5, "1e-05": 1e-05}, ["1e39", *SPELT])
SEARCH = Values({}, [""])
ALI_LABEL = Values({"0": 0, "1": 1, "2": 2}, ["", "3", "-1", "0.5", "true", *SPELT])
ALI_FLAG = Values({"0": 0}, ["", "2", "-1", "0.5", *SPELT])
# Of the anonymous fields, which are declared in one breath, the first of each kind.
ALI_USER = {"search_id": SEARCH, CODES[0]: ALI_CODE, NUMBERS[0]: ALI_NUMBER}
ALI_ITEM = {"search_id": SEARCH, CODES[-1]: ALI_CODE, NUMBERS[-1]: ALI_NUMBER, ITEM[-1]: ALI_LABEL}
ALI_READY = {
    "search_id": SEARCH,
    NAMES[CODES[0]]: ALI_CODE,
    NAMES[NUMBERS[0]]: ALI_NUMBER,
    "click": Values({"1": 1}, ALI_FLAG.bad),
    "conversion": ALI_FLAG,
}
ALICCP_SKELETON = {
    "sample_id": ID,
    "click": FLAG,
    "conversion": Values({"0": 0}, FLAG.bad),
    "index": Values({}, [""]),
    "count": Values({}, ["-1", "1.0", "", *SPELT]),
}
ALICCP_COMMON = {
    "index": Values({}, ["", "bacff9169295188", "BACFF91692951881", "bacff91692951881a", "bacff9169295188g", "12"]),
    "count": Values({}, ["-1", "1.0", "", *SPELT]),
}


ALIKE = {*(f"onehot_feat{i}" for i in range(1, 17)), *tenrec.HISTORY[1:-1]}
"""Columns that are declared in one breath with others."""


@dataclass(frozen=True)
class File:
    """A file of a data set.

    Args:
        build: Writes small files into a folder.
        data: The data module on it.
        path: The file in the folder.
        columns: Those that are read.
        header: Its columns, if it has no line of names.
        separator: Between fields.
    """

    build: Callable[[Path], object]
    data: Callable[[Path], MultiTaskDataModule]
    path: str
    columns: Mapping[str, Values]
    header: Sequence[str] = ()
    separator: str = ","


def kuairand_of(root: Path) -> KuaiRand:
    return KuaiRand(root, tasks=(*kuairand.BINARY, *kuairand.REGRESSION))


def kuairec_of(root: Path) -> KuaiRec:
    return KuaiRec(root, small_matrix=True)


def tenrec_of(scenario: Any) -> Callable[[Path], Tenrec]:
    about = tenrec.SCENARIOS[scenario]
    return lambda root: Tenrec(root, scenario=scenario, tasks=(*about.binary, *about.amounts))


def small(write: Callable[..., object], **options: Any) -> Callable[[Path], object]:
    return lambda root: write(root, **options)


KUAIRAND = (small(write_kuairand, rows=60, users=30, videos=20), kuairand_of)
KUAIREC = (small(write_kuairec, rows=60, users=30, videos=20), kuairec_of)
ALIEXPRESS = (small(write_aliexpress, rows=60), AliExpress)
ALICCP = (small(write_aliccp, rows=60, common=20), AliCCP)
FILES = {
    "KuaiRand log": File(*KUAIRAND, "KuaiRand-Pure/data/log_standard_4_08_to_4_21_pure.csv", KUAIRAND_LOG),
    "KuaiRand users": File(*KUAIRAND, "KuaiRand-Pure/data/user_features_pure.csv", KUAI_USER),
    "KuaiRand videos": File(*KUAIRAND, "KuaiRand-Pure/data/video_features_basic_pure.csv", KUAIRAND_VIDEO),
    "KuaiRec big": File(*KUAIREC, "KuaiRec 2.0/data/big_matrix.csv", KUAIREC_MATRIX),
    "KuaiRec small": File(*KUAIREC, "KuaiRec 2.0/data/small_matrix.csv", KUAIREC_SMALL),
    "KuaiRec users": File(*KUAIREC, "KuaiRec 2.0/data/user_features.csv", SOME_USER),
    "KuaiRec videos": File(*KUAIREC, "KuaiRec 2.0/data/item_daily_features.csv", KUAIREC_VIDEO),
    "KuaiRec categories": File(*KUAIREC, "KuaiRec 2.0/data/item_categories.csv", KUAIREC_CATEGORIES),
    "Tenrec videos": File(small(write_tenrec, users=4), tenrec_of("ctr_data_1M"), "ctr_data_1M.csv", TENREC_VIDEO),
    "Tenrec articles": File(
        small(write_tenrec, scenario="QK-article", users=4), tenrec_of("QK-article"), "QK-article.csv", TENREC_ARTICLE
    ),
    "TikTok": File(small(write_tiktok, rows=60), TikTok, "final_track1_train.txt", TIKTOK, tiktok.NAMES, "\t"),
    "CensusIncome": File(small(write_census, rows=60), CensusIncome, "census-income.data", CENSUS, census.NAMES, ", "),
    "AliExpress users": File(*ALIEXPRESS, "nl_user_train.csv", ALI_USER, USER),
    "AliExpress items": File(*ALIEXPRESS, "nl_item_train.csv", ALI_ITEM, ITEM),
    "MTReclib": File(
        small(write_aliexpress, layout="mtreclib", rows=60), AliExpress, "AliExpress_NL/train.csv", ALI_READY
    ),
    "AliCCP skeleton": File(*ALICCP, "sample_skeleton_train.csv", ALICCP_SKELETON, (*ALICCP_SKELETON, "strings")),
    "AliCCP common": File(*ALICCP, "common_features_train.csv", ALICCP_COMMON, (*ALICCP_COMMON, "strings")),
}


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
