"""Names keep apart what they name, whatever type they come in."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mtlzoo.datamodules import TabularDataModule
from mtlzoo.datamodules.errors import DataError
from mtlzoo.datamodules.values import keys as module
from mtlzoo.datamodules.values.keys import KeyColumn, as_keys

BIG = 2**53
S = pl.Series


def decimal(*values: str, places: int = 0) -> pl.Series:
    return S(values).cast(pl.Decimal(38, places))


def checked(*chunks: pl.Series) -> tuple[pl.DataType | None, list[Any]]:
    column, found, first = KeyColumn("user"), [], 1
    for chunk in chunks:
        found += column.check(chunk, range(first, first + len(chunk))).to_list()
        first += len(chunk)
    return column.dtype, found


@pytest.mark.parametrize(
    ("chunks", "dtype", "keys"),
    [
        # integers, whatever their width, and what is written like them
        ([S([7, None], dtype=pl.Int8), S([BIG + 1])], pl.Int64, [7, None, BIG + 1]),
        ([S([7], dtype=pl.UInt64), S([2**63 - 1], dtype=pl.UInt64)], pl.Int64, [7, 2**63 - 1]),
        ([S([-(2**63)], dtype=pl.Int128), S([5], dtype=pl.UInt128)], pl.Int64, [-(2**63), 5]),
        ([decimal(str(BIG), str(BIG + 1))], pl.Int64, [BIG, BIG + 1]),
        ([S([True, None, False]), S([1])], pl.Int64, [1, None, 0, 1]),
        ([S([7]), S([8.0, float("nan")])], pl.Int64, [7, 8, None]),
        ([S([7]), S(["7", "8.0", "-9"])], pl.Int64, [7, 7, 8, -9]),
        # floats and decimals with places
        ([S([7.0, None]), S([8])], pl.Float64, [7.0, None, 8.0]),
        ([S([0.1, 2.5], dtype=pl.Float32), S([0.1]), decimal("0.1", places=3)], pl.Float64, [0.1, 2.5, 0.1, 0.1]),
        ([S([16_777_215.0], dtype=pl.Float32), S([BIG - 1.0])], pl.Float64, [16_777_215.0, BIG - 1.0]),
        ([S([7.0]), S(["7", "7.0", "7.5", ""])], pl.Float64, [7.0, 7.0, 7.0, 7.5, None]),
        # text keeps its zeros, but is not told apart by how pandas writes a column with a gap
        ([S(["7", "007"]), S(["7.0", "007.0", "-7.0", "0.0"])], pl.String, ["7", "007", "7", "007.0", "-7", "0"]),
        ([S(["1.5", "7.00", "1e3", "v7.0"])], pl.String, ["1.5", "7.00", "1e3", "v7.0"]),
        ([S(["7"]), S([7, 8]), S([9.0, 7.5, None])], pl.String, ["7", "7", "8", "9", "7.5", None]),
        ([S(["a", "b"]).cast(pl.Categorical), S(["a"]).cast(pl.Enum(["a"]))], pl.String, ["a", "b", "a"]),
        # a chunk without values decides nothing
        ([S([None, None]), S([float("nan")]), S(["a"])], pl.String, [None, None, None, "a"]),
    ],
)
@pytest.mark.parametrize("few", [0, 32])
def test_a_name_is_the_same_in_every_type(
    chunks: list[pl.Series], dtype: pl.DataType, keys: list[Any], few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FEW", few)
    assert checked(*chunks) == (dtype, keys)


@pytest.mark.parametrize(
    ("chunks", "row", "value"),
    [
        ([S([2**63], dtype=pl.UInt64)], 1, 2**63),
        ([S([5, 2**64 - 1], dtype=pl.UInt64)], 2, 2**64 - 1),
        ([S([2**70], dtype=pl.Int128)], 1, 2**70),
        ([S([2**100], dtype=pl.UInt128)], 1, 2**100),
        ([decimal("5", "9" * 30)], 2, "Decimal"),
        ([decimal("1.5", f"{BIG + 1}.0", places=2)], 2, "Decimal"),
        ([S([1.0, float(BIG)])], 2, float(BIG)),
        ([S([-float(BIG)])], 1, -float(BIG)),
        ([S([float("inf")])], 1, "inf"),
        ([S([1.5, 16_777_216.0], dtype=pl.Float32)], 2, 16_777_216.0),
        ([S([2048.0], dtype=pl.Float16)], 1, 2048.0),
        ([S([f"{BIG}.0"])], 1, f"'{BIG}.0'"),
        ([S([7.0, None]), S([BIG, BIG + 1])], 4, BIG + 1),
        ([S([7]), S([7.5])], 2, 7.5),
        ([S([7]), decimal("7.5", places=1)], 2, 7.5),
        ([S([7]), S(["007"])], 2, "'007'"),
        ([S([7]), S(["+7"])], 2, "'[+]7'"),
        ([S([7.0]), S(["7.50"])], 2, "'7.50'"),
        ([S([7.0]), S([str(BIG + 1)])], 2, f"'{BIG + 1}'"),
        ([S(["yes"]), S([True])], 2, "True"),
    ],
)
def test_what_would_share_a_name_is_refused(chunks: list[pl.Series], row: int, value: Any) -> None:
    with pytest.raises(DataError, match=rf"Column 'user', row {row}: found {value}.*; allowed is .*as text"):
        checked(*chunks)


def test_times_and_what_is_only_kept_are_taken_as_they_are() -> None:
    column = KeyColumn("time", names=False)
    assert column.check(S([1.6e18, 2.5]), range(1, 3)).to_list() == [1.6e18, 2.5]
    assert KeyColumn("id", names=False).check(S(["7.0", "007"]), range(1, 3)).to_list() == ["7.0", "007"]


def test_durations_are_names_in_their_own_unit() -> None:
    spans = S([1, 2]).cast(pl.Duration("us"))
    assert checked(spans) == (pl.Duration("us"), spans.to_list())
    with pytest.raises(DataError, match=r"holds Duration.* before row 3"):
        checked(spans, spans.cast(pl.Duration("ms")))
    table = pl.DataFrame({"span": [*spans, *spans] * 2, "y": [0, 1] * 4})
    data = TabularDataModule.from_frame(table, table, features={"span": "categorical"}, labels={"y": "binary"})
    assert data.data["val"]["categorical"].flatten().tolist() == [2, 3] * 4


def test_text_that_shares_a_table_with_integers_keeps_its_names_apart() -> None:
    assert as_keys(S(["7", "8.0", None]), pl.Int64(), "history").to_list() == [7, 8, None]
    with pytest.raises(DataError, match="'history': found '007'; allowed is a whole number"):
        as_keys(S(["7", "007"]), pl.Int64(), "history")


def prepared(tmp_path: Path, train: pl.DataFrame, val: pl.DataFrame, **options: Any) -> TabularDataModule:
    features = options.pop("features", {"u": "categorical"})
    return TabularDataModule.from_frame(
        train, val, val, prepared=tmp_path, features=features, labels={"y": "binary"}, **options
    )


def test_decimal_ids_above_2_to_the_53_are_four_users(tmp_path: Path) -> None:
    ids = [BIG + k for k in range(4)]
    frame = pl.DataFrame({"u": decimal(*map(str, ids)), "y": [1, 0, 1, 0]})
    data = prepared(tmp_path, frame, frame, user="u", ids=["u"])
    assert data.data["train"]["categorical"].flatten().tolist() == [2, 3, 4, 5]
    assert data.data["train"]["group"].tolist() == ids
    assert data.data["test"].ids()["u"].to_list() == ids


@pytest.mark.parametrize(
    "options",
    [
        {"features": {"u": "categorical"}},
        {"features": {"u": {"kind": "categorical", "hash_buckets": 100}}},
        {"features": {"x": "categorical"}, "group": "u"},
        {"features": {"x": "categorical"}, "ids": ["u"]},
        {
            "features": {
                "x": {"kind": "categorical", "table": "t"},
                "us": {"kind": "sequence", "max_length": 2, "table": "t"},
            }
        },
    ],
)
def test_hashes_of_64_bits_are_refused_everywhere_with_the_remedy(tmp_path: Path, options: dict[str, Any]) -> None:
    hashes = S(["a", "b", "c", "d"]).hash(0)
    largest = str(max(hashes.to_list()))
    frame = pl.DataFrame(
        {"u": hashes, "us": hashes.reshape((4, 1)).arr.to_list(), "x": [1, 2, 3, 4], "y": [1, 0, 1, 0]}
    )
    with pytest.raises(DataError, match=rf"Column 'us?', row \d: found {largest}.*Write the column as text"):
        prepared(tmp_path, frame.sort("u", descending=True), frame, **options).schema  # noqa: B018
    text = frame.with_columns(
        pl.col("u").cast(pl.String), pl.col("us").cast(pl.List(pl.String)), pl.col("x").cast(pl.String)
    )
    assert prepared(tmp_path, text, text, **options).schema


def test_ids_with_a_gap_are_known_in_every_kind_of_file(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("u,y\n7,1\n8,0\n7,1\n007,0\n")
    (tmp_path / "val.csv").write_text("u,y\n7.0,1\n8.0,0\n,1\n")
    pl.DataFrame({"u": [7.0, 8.0, None], "y": [1, 0, 1]}).write_parquet(tmp_path / "test.parquet")
    data = TabularDataModule(
        tmp_path,
        train="train.csv",
        val="val.csv",
        test="test.parquet",
        prepared=tmp_path / "prepared",
        features={"u": "categorical"},
        labels={"y": "binary"},
    )
    assert data.data["train"]["categorical"].flatten().tolist() == [2, 4, 2, 3]  # 007 is another name
    for split in ("val", "test"):
        assert data.data[split]["categorical"].flatten().tolist() == [2, 4, 1]


@pytest.mark.parametrize("dtype", [pl.Int128, pl.UInt128])
def test_integers_of_128_bits_in_a_table_are_refused_by_column(tmp_path: Path, dtype: Any) -> None:
    frame = pl.DataFrame({"u": S([1, 2**70], dtype=dtype), "y": [0, 1]})
    with pytest.raises(DataError, match=r"columns \['u'\] hold integers of 128 bits. Write ids as text"):
        prepared(tmp_path, frame, frame).schema  # noqa: B018
