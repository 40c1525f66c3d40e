"""What every exported data module must do. A new one is tested by existing: `fixtures/<its file>.py` builds it."""

import importlib
import inspect
import pickle
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import mtlzoo.datamodules
from mtlzoo.datamodules import DatasetNotFoundError, MultiTaskDataModule, RankingDataModule, TabularDataModule
from mtlzoo.datamodules.pairs import PairsDataModule
from mtlzoo.datamodules.prepare.prepared import PreparedSplit
from mtlzoo.datamodules.trust import TrustDataModule
from mtlzoo.schema import FIRST_KNOWN, UNKNOWN
from mtlzoo.tasks import VECTOR_KINDS

pytestmark = pytest.mark.every_case

BASES = {MultiTaskDataModule, RankingDataModule, PairsDataModule, TrustDataModule}
EXPORTED = [getattr(mtlzoo.datamodules, name) for name in mtlzoo.datamodules.__all__]
DATAMODULES = [
    kind for kind in EXPORTED if inspect.isclass(kind) and issubclass(kind, MultiTaskDataModule) and kind not in BASES
]
SPLITS = ("train", "val", "test")


def fixture_of(kind: type[MultiTaskDataModule]) -> ModuleType:
    """Module with ``build(root)`` and ``OUTCOMES``, named as the data module's file."""
    return importlib.import_module(f"fixtures.{kind.__module__.rpartition('.')[2]}")


@pytest.fixture(scope="module", params=DATAMODULES, ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module")
def folder(kind: type[MultiTaskDataModule], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp(kind.__name__)


@pytest.fixture
def datamodule(kind: type[MultiTaskDataModule], folder: Path) -> Any:
    """A fresh data module whose files and prepared data are shared by the tests, which only read them."""
    return fixture_of(kind).build(folder / "raw", prepared=folder / "prepared", batch_size=64)


def test_every_file_of_a_data_set_is_exported() -> None:
    folder = Path(inspect.getfile(mtlzoo.datamodules)).parent
    shared = {Path(inspect.getfile(base)).stem for base in BASES}
    defined = set()
    for path in folder.glob("*.py"):
        module = importlib.import_module(f"mtlzoo.datamodules.{path.stem}".removesuffix(".__init__"))
        if path.stem in shared:
            continue
        defined |= {
            value
            for value in vars(module).values()
            if inspect.isclass(value) and issubclass(value, MultiTaskDataModule) and value.__module__ == module.__name__
        }
    assert defined == set(DATAMODULES)


def test_bases_are_no_data_sets_that_a_command_line_offers() -> None:
    assert all(inspect.isabstract(base) for base in BASES)


def test_says_licence_and_citation(kind: Any) -> None:
    assert kind.licence
    assert kind.citation
    assert "Licence" in kind.__doc__
    assert "Citation" in kind.__doc__ or "citation" in kind.__doc__


@pytest.mark.parametrize("split", SPLITS)
def test_batches_are_as_the_schema_says(datamodule: MultiTaskDataModule, split: str) -> None:
    schema = datamodule.schema
    columns = datamodule.data[split]
    expected = {"labels"} | {f.name for f in schema.sequences}
    expected |= {name for name, there in (("categorical", schema.categorical), ("numeric", schema.numeric)) if there}
    expected |= {"group"} if schema.group else set()
    expected |= {"weight"} if datamodule.recipe.weight else set()
    assert set(columns) == expected
    rows = columns.rows
    width = sum(task.label_width for task in schema.tasks)
    shapes: dict[str, tuple[int, ...]] = {
        "categorical": (rows, len(schema.categorical)),
        "numeric": (rows, len(schema.numeric)),
    }
    shapes |= {"labels": (rows, width), "weight": (rows,), "group": (rows,)}
    shapes |= {f.name: (rows, f.max_length) for f in schema.sequences}
    types = {"numeric": torch.float32, "labels": torch.float32, "weight": torch.float32, "group": torch.int64}
    for name, column in columns.items():
        assert tuple(column.shape) == shapes[name], name
        assert column.dtype == types.get(name, torch.int32), name
    for position, feature in enumerate(schema.categorical):
        ids = columns["categorical"][:, position]
        assert int(ids.min()) >= UNKNOWN, feature.name
        assert int(ids.max()) < feature.cardinality, feature.name
    for sequence in schema.sequences:
        ids = columns[sequence.name]
        assert int(ids.min()) >= 0
        assert int(ids.max()) < sequence.cardinality
        assert not ((ids[:, 1:] > 0) & (ids[:, :-1] == 0)).any(), "padding stands at the end"
    if schema.numeric:
        assert torch.isfinite(columns["numeric"]).all()


@pytest.mark.parametrize("split", SPLITS)
def test_labels_are_in_range_or_nan(datamodule: MultiTaskDataModule, split: str) -> None:
    labels = datamodule.data[split]["labels"]
    for task, where in datamodule.schema.label_columns:
        if not task.label_width:
            continue
        seen = labels[:, where][~labels[:, where].isnan()]
        assert len(seen), task.name
        if task.kind == "ranking":
            assert set(seen.tolist()) == {1.0}
        if task.kind in ("binary", "multilabel"):
            assert set(seen.tolist()) <= {0.0, 1.0}
        elif task.kind == "multiclass":
            assert set(seen.tolist()) <= set(range(task.classes))


def test_every_task_has_both_classes_in_train(datamodule: MultiTaskDataModule) -> None:
    labels = datamodule.data["train"]["labels"]
    for task, where in datamodule.schema.label_columns:
        if task.label_width and task.kind != "ranking":
            assert len(set(labels[:, where].flatten().tolist())) > 1, task.name


def test_no_outcome_is_a_feature(kind: Any, datamodule: MultiTaskDataModule) -> None:
    recipe = datamodule.recipe
    outcomes = fixture_of(kind).OUTCOMES | {label.column for label in recipe.labels} | {recipe.weight}
    assert not outcomes & {column.name for column in recipe.columns}


def test_no_feature_alone_tells_a_label(datamodule: MultiTaskDataModule) -> None:
    """No column is a label's copy, under whatever name: labels are drawn here, so that nothing else tells one."""
    if all(task.kind != "binary" for task in datamodule.schema.tasks):
        pytest.skip("no binary label")
    assert not list(telling(datamodule))


def test_a_copy_of_a_label_tells_it(tmp_path: Path) -> None:
    """As a class, as a number, the wrong way round, and among others."""
    draw = np.random.default_rng(0)
    y, other = draw.integers(0, 2, (2, 400))
    table = {"y": y, "other": other, "x": draw.random(400), "u": draw.integers(0, 9, 400)}
    copies = {"same": y, "opposite": 5 - y, "noisy": y + 0.5 * draw.random(400), "part": y * draw.integers(1, 9, 400)}
    features = {"x": "numeric", "u": "categorical", "same": "categorical", "part": "categorical"}
    features |= {"opposite": "numeric", "noisy": "numeric"}
    data = TabularDataModule.from_frame(
        table | copies, prepared=tmp_path, features=features, labels={"y": "binary", "other": "binary"}
    )
    assert sorted(telling(data)) == sorted((name, "y") for name in copies)


def telling(datamodule: MultiTaskDataModule) -> Iterator[tuple[str, str]]:
    """Features that rank the rows of test nearly perfectly by themselves, each with the task whose label it tells."""
    train, test = datamodule.data["train"], datamodule.data["test"]
    for task, where in datamodule.schema.label_columns:
        if task.kind != "binary":
            continue
        truth = test["labels"][:, where].squeeze(1) > 0
        for position, feature in enumerate(datamodule.schema.categorical):
            if not _auc(_means(train, test, position, feature.cardinality, where), truth) < 0.95:
                yield feature.name, task.name
        for position, number in enumerate(datamodule.schema.numeric):
            if not 0.05 < _auc(test["numeric"][:, position], truth) < 0.95:
                yield number.name, task.name


def _means(train: PreparedSplit, test: PreparedSplit, position: int, cardinality: int, where: slice) -> torch.Tensor:
    """For each row of test, the mean label of the rows of train with its value."""
    ids, labels = train["categorical"][:, position].long(), train["labels"][:, where].squeeze(1)
    count = torch.bincount(ids, minlength=cardinality)
    score = torch.bincount(ids, weights=labels.double(), minlength=cardinality) / count.clamp(min=1)
    return score[test["categorical"][:, position].long()]


def _auc(scores: torch.Tensor, truth: torch.Tensor) -> float:
    difference = scores[truth][:, None] - scores[~truth][None]
    return float(((difference > 0).double() + 0.5 * (difference == 0).double()).mean())


def test_vocabularies_hold_the_values_of_train_and_nothing_else(datamodule: MultiTaskDataModule) -> None:
    schema, train = datamodule.schema, datamodule.data["train"]
    for table, cardinality in schema.tables.items():
        path = datamodule.folder / "vocabulary" / f"{table}.parquet"
        if not path.exists():  # quantile buckets and hashes keep none
            continue
        ids = [train["categorical"][:, i] for i, f in enumerate(schema.categorical) if (f.table or f.name) == table]
        ids += [train[f.name].flatten() for f in schema.sequences if (f.table or f.name) == table]
        counts = torch.bincount(torch.cat(ids).long(), minlength=cardinality)
        vocabulary = pl.read_parquet(path).sort("id")
        assert vocabulary["id"].to_list() == list(range(FIRST_KNOWN, cardinality))
        assert (counts[FIRST_KNOWN:] > 0).all(), table
        if not any((f.table or f.name) == table for f in schema.sequences):  # those may be cut
            assert counts[FIRST_KNOWN:].tolist() == vocabulary["count"].to_list(), table


def test_every_row_is_in_one_split(datamodule: MultiTaskDataModule) -> None:
    rows = sum(chunk.height for chunk in datamodule.read())
    assert sum(datamodule.data[split].rows for split in SPLITS) == rows
    assert all(datamodule.data[split].rows > 0 for split in SPLITS)


def test_loaders_give_every_row_or_user_once(datamodule: MultiTaskDataModule) -> None:
    datamodule.prepare_data()
    datamodule.setup()
    loaders = (datamodule.train_dataloader(), datamodule.val_dataloader(), datamodule.test_dataloader())
    kinds = {task.kind for task in datamodule.schema.tasks}
    for split, loader in zip(SPLITS, loaders, strict=True):
        batches = list(loader)
        rows, users = (
            [number for batch in batches if name in batch for number in batch[name].tolist()]
            for name in ("row", "user")
        )
        ranked = split != "train" and "ranking" in kinds
        assert sorted(rows) == list(range(0 if ranked and kinds <= VECTOR_KINDS else datamodule.data[split].rows))
        assert bool(users) == ranked
        assert len(set(users)) == len(users)
    train = torch.cat([batch["row"] for batch in datamodule.train_dataloader()])
    assert train.tolist() != sorted(train.tolist())


def test_preparing_again_gives_the_same_bytes(kind: Any, tmp_path: Path) -> None:
    first, second = (fixture_of(kind).build(tmp_path / "raw", prepared=tmp_path / name) for name in ("a", "b"))
    assert first.data.schema == second.data.schema
    assert first.folder.name == second.folder.name
    files = sorted(p.relative_to(first.folder) for p in first.folder.rglob("*.npy"))
    assert files
    for path in files:
        np.testing.assert_array_equal(np.load(first.folder / path), np.load(second.folder / path))


def test_preparing_is_done_once(kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fixture_of(kind).build(tmp_path / "raw")
    first.prepare_data()
    before = {path: path.stat().st_mtime_ns for path in first.folder.rglob("*")}
    second = fixture_of(kind).build(tmp_path / "raw")
    monkeypatch.setattr(second, "read", lambda: pytest.fail("read again"))
    second.prepare_data()
    assert {path: path.stat().st_mtime_ns for path in second.folder.rglob("*")} == before


def test_reading_again_gives_the_same_rows(datamodule: MultiTaskDataModule) -> None:
    assert pl.concat(datamodule.read()).equals(pl.concat(datamodule.read()))


def test_survives_pickling(datamodule: MultiTaskDataModule) -> None:
    copy = pickle.loads(pickle.dumps(datamodule))
    assert copy.schema == datamodule.schema
    assert copy.folder == datamodule.folder


@pytest.mark.usefixtures("offline")
def test_missing_files_name_the_folder_and_the_remedy(kind: Any, tmp_path: Path) -> None:
    datamodule = fixture_of(kind).build(tmp_path / "raw")
    if not datamodule.files():
        pytest.skip("reads no file")
    for path in datamodule.files():
        path.unlink()
    with pytest.raises(DatasetNotFoundError, match=r"root=|put it at") as caught:
        datamodule.files()
    assert str(datamodule.root) in str(caught.value)


def test_the_manual_has_a_section(kind: Any) -> None:
    manual = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    assert f"\n## {kind.__name__}\n" in manual
    assert kind.__name__ in str(mtlzoo.datamodules.__doc__)
