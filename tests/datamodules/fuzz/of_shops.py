"""AliExpress, AliCCP, CensusIncome and tables of anybody."""

from pathlib import Path
from typing import Any

import polars as pl

from fixtures import aliexpress as aliexpress_files
from fixtures import tabular
from fuzz.binary import Columns
from fuzz.fixture import Build, Published
from fuzz.forms import Form, Strings, Table
from fuzz.values import LARGEST, maybe, number, one_of, text, whole
from mtlzoo.datamodules import AliExpress, TabularDataModule, aliexpress, census
from mtlzoo.datamodules.aliccp import FIELDS, SEQUENCES


def _fields(role: Any, names: tuple[str, ...]) -> Table:
    allowed: dict[str, Any] = dict.fromkeys(aliexpress.CODES, maybe(whole(0, LARGEST, points=True)))
    allowed |= {"search_id": text(), "item_49": whole(0, 2, points=True)}
    columns = {name: allowed.get(name, maybe(number())) for name in names}
    return Table(role, "search_id", columns=columns, names=names, quoted=False)


ALIEXPRESS: dict[str, Form] = {
    f"nl_{kind}_{part}.csv": _fields(*about)
    for part in ("train", "test")
    for kind, about in (("user", ("table", aliexpress.USER)), ("item", ("rows", aliexpress.ITEM)))
}
MTRECLIB: dict[str, Form] = {
    f"{part}.csv": Table(
        columns={
            "search_id": text(),
            **{f"categorical_{i}": maybe(whole(0, LARGEST, points=True)) for i in range(1, 17)},
            **{f"numerical_{i}": maybe(number()) for i in range(1, 64)},
            **dict.fromkeys(("click", "conversion"), whole(0, 1, points=True)),
        },
        quoted=False,
        together=lambda row: float(row["conversion"]) <= float(row["click"]),
    )
    for part in ("train", "test")
}


def _mtreclib(root: Path) -> AliExpress:
    return AliExpress(aliexpress_files.write_aliexpress(root, layout="mtreclib", rows=300))


_SINGLE = tuple(number for name, number in FIELDS.items() if name not in SEQUENCES)
_INDEX = text("[0-9a-f]{16}")
ALICCP: dict[str, Form] = {
    f"{stem}_{part}.csv": form
    for part in ("train", "test")
    for stem, form in (
        (
            "sample_skeleton",
            Strings(
                columns={
                    "sample_id": whole(),
                    **dict.fromkeys(("click", "conversion"), whole(0, 1)),
                    "index": text(),
                    "count": whole(),
                    "strings": maybe(text()),
                },
                names=("sample_id", "click", "conversion", "index", "count", "strings"),
                quoted=False,
                single=_SINGLE,
            ),
        ),
        (
            "common_features",
            Strings(
                "table",
                "index",
                "sample_id",
                f"sample_skeleton_{part}.csv",
                columns={"index": _INDEX, "count": whole(), "strings": maybe(text())},
                names=("index", "count", "strings"),
                quoted=False,
                single=_SINGLE,
            ),
        ),
    )
}
_CENSUS = Table(
    columns={
        **dict.fromkeys(census.NAMES, text()),
        **dict.fromkeys(census.NUMBERS, whole()),
        **{name: one_of(*map(str, codes)) for name, codes in census.CODES.items()},
        "education": one_of(*census.EDUCATIONS),
        "marital_stat": one_of(*census.MARITAL),
        "instance_weight": number(0),
        "year": one_of("94", "95"),
        "income_50k": one_of("- 50000.", "50000+."),
    },
    names=census.NAMES,
    quoted=False,
    strip=True,
)
_TABULAR = {
    **dict.fromkeys(("user_id", "item_id"), maybe(text())),
    **dict.fromkeys(("price", "age"), maybe(number())),
    "tags": maybe(text()),
    "click": maybe(number(0, 1, step=1)),
    "rating": maybe(number()),
    "kind": maybe(number(0, 2, step=1)),
    "day": number(),
    "importance": number(0),
}


def _tabular(suffix: str) -> Build:
    def build(root: Path) -> TabularDataModule:
        if suffix == ".tsv":
            tabular.write_table(root, ".csv", rows=300)
            pl.read_csv(root / "clicks.csv", infer_schema=False).write_csv(root / "clicks.tsv", separator="\t")
            (root / "clicks.csv").unlink()
        else:
            tabular.write_table(root, suffix, rows=300)
        return TabularDataModule(root, schema_file="schema.yaml")

    return build


PUBLISHED = {
    "AliExpress": Published(ALIEXPRESS),
    "AliExpress ready": Published(MTRECLIB, build=_mtreclib),
    "AliCCP": Published(ALICCP, ignored=("split", "group")),
    "CensusIncome": Published({"census-income.data": _CENSUS, "census-income.test": _CENSUS}),
    "TabularDataModule": Published({"clicks.csv": Table(columns=_TABULAR)}),
    "TabularDataModule tsv": Published({"clicks.tsv": Table(columns=_TABULAR, by="\t")}, build=_tabular(".tsv")),
    "TabularDataModule parquet": Published(
        {"clicks.parquet": Columns(columns=dict.fromkeys(_TABULAR, lambda _: True))}, build=_tabular(".parquet")
    ),
}
