"""Binary labels, however yes and no are written, in all kinds of file."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mtlzoo.datamodules import DataError, TabularDataModule
from mtlzoo.datamodules.columns import Label
from mtlzoo.datamodules.values.truths import truths

NAN = float("nan")


@pytest.mark.filterwarnings(
    "ignore:TabularDataModule. the label 'z' is 1 in every row of train:mtlzoo.datamodules.errors.DataWarning"
)
@pytest.mark.parametrize(
    "values",
    [
        [1, 0, None],
        [1.0, 0.0, NAN],
        [True, False, None],
        ["1", "0", None],
        ["1.0", "0.0", ""],
        ["True", "False", None],
        ["true", "FALSE", None],
        ["yes", "No", None],
        ["Y", "n", None],
        ["T", "F", None],
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".parquet", "frame", "category"])
def test_yes_and_no(values: list[Any], suffix: str, tmp_path: Path) -> None:
    frame = pl.DataFrame({"x": [1, 2, 3], "y": values, "z": [1.0, 2.0, 3.0]})
    described: dict[str, Any] = {
        "features": {"x": "numeric"},
        "labels": {"y": "binary", "z": {"kind": "regression", "observed": "y", "standardize": False}},
    }
    if suffix == ".csv":
        frame.fill_nan(None).write_csv(tmp_path / "a.csv")
        data = TabularDataModule(tmp_path, train="a.csv", **described, split={"kind": "random", "val": 0, "test": 0})
    elif suffix == ".parquet":
        frame.write_parquet(tmp_path / "a.parquet")
        data = TabularDataModule(
            tmp_path, train="a.parquet", **described, split={"kind": "random", "val": 0, "test": 0}
        )
    else:
        if suffix == "category":
            frame = frame.with_columns(pl.col(pl.String).cast(pl.Categorical))
        data = TabularDataModule.from_frame(frame, frame, **described)
    labels = data.data["train"]["labels"]
    assert labels[:, 0].tolist()[:2] == [1, 0]
    assert labels[:, 1].tolist()[0] == 1
    assert labels.isnan().tolist() == [[False, False], [False, True], [True, True]]


@pytest.mark.parametrize(
    ("values", "true", "false"),
    [
        ([2, 1, None], "2", "1"),
        ([2.0, 1.0, NAN], "2", "1"),
        ([2.0, 1.0, NAN], "2.0", "1.0"),
        (["2.0", "1.0", ""], "2", "1"),
        (["2", "1", ""], "2.0", "1.0"),
        ([2.5, 1.0, None], "2.5", "1"),
        ([1, -1, None], "1", "-1"),
        ([True, False, None], "True", "False"),
        ([True, False, None], "true", "FALSE"),
        ([False, True, None], "false", "true"),
    ],
)
def test_words_of_ones_own_are_numbers_and_booleans_too(values: list[Any], true: str, false: str) -> None:
    assert truths(pl.Series(values), "y", range(1, 4), [true], [false]).to_list() == [1, 0, None]


def test_a_word_stands_for_one_of_them() -> None:
    with pytest.raises(ValueError, match=r"\['1'\] stand for 1 and for 0"):
        Label("y", true_values=["1"], false_values=["1.0"])  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [2, -1, 0.5, "2", "maybe", "yes ", " 1", "01", "1.00", "on", "nan", "None", "ja"])
def test_what_is_neither(wrong: Any) -> None:
    values = pl.Series(["yes", None, wrong] if isinstance(wrong, str) else [1, None, wrong], strict=False)
    with pytest.raises(DataError, match=r"Column 'y', row 3: found .*; allowed is .*null where it is not observed"):
        truths(values, "y", range(1, 4))


@pytest.mark.parametrize(
    ("values", "true", "false"),
    [
        (["clicked", "shown", None], ["clicked"], ["shown"]),
        (["clicked", "0", None], ["clicked"], []),
        ([2, 1, None], ["2"], ["1"]),
        ([2.0, 1.0, NAN], ["2"], ["1"]),
        ([False, True, None], ["false"], ["true"]),
        (["ja", "nein", None], ["ja", "Ja"], ["nein"]),
    ],
)
def test_words_of_ones_own(values: list[Any], true: list[str], false: list[str]) -> None:
    assert truths(pl.Series(values, strict=False), "y", range(1, 4), true, false).to_list() == [1, 0, None]
    frame = pl.DataFrame({"x": [1, 2, 3], "y": values}, strict=False)
    words: dict[str, Any] = {"true_values": true, "false_values": false}
    of_all = TabularDataModule.from_frame(frame, frame, features={"x": "numeric"}, labels={"y": "binary"}, **words)
    of_one = TabularDataModule.from_frame(
        frame, frame, features={"x": "numeric"}, labels={"y": {"kind": "binary", **words}}
    )
    assert of_all.recipe == of_one.recipe
    assert of_all.data["train"]["labels"].flatten().tolist()[:2] == [1, 0]


def test_words_that_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"\['1'\] stand for 1 and for 0. Give both lists"):
        Label("y", false_values=("1",))
    with pytest.raises(ValueError, match="are of binary columns"):
        Label("y", kind="regression", true_values=("a",))
    with pytest.raises(ValueError, match=r"true_values=\[True\]; allowed are lists of texts"):
        Label("y", true_values=[True])  # type: ignore[arg-type]  # as YAML reads yes
    frame = pl.DataFrame({"x": [1.0], "y": [1.0]})
    described: dict[str, Any] = {"features": {"x": "numeric"}, "labels": {"y": "regression"}}
    with pytest.raises(ValueError, match="are of binary labels, and there are none"):
        TabularDataModule.from_frame(frame, **described, true_values=["a"])
    with pytest.raises(ValueError, match=r"\['encoding', 'null_values'\] say how text files are read"):
        TabularDataModule.from_frame(frame, **described, null_values=["a"], encoding="latin-1")
