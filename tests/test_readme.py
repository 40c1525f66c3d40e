"""Every command, block and table of README.md is tried or compared with the code, every link of the docs followed."""

import inspect
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest
import torch

import fixtures.census
import fixtures.kuairand
import fixtures.tabular
import mtlzoo
import mtlzoo.datamodules
from mtlzoo import MultiTaskModule, Task
from mtlzoo.cli import main
from mtlzoo.datamodules import MultiTaskDataModule, RankingDataModule
from mtlzoo.metrics import TaskMetrics

REPOSITORY = Path(__file__).resolve().parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
PAGES = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]
BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TARGETS = set(re.findall(r"^(\w+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
KINDS = {
    "binary": Task("t"),
    "binary, with users": Task("t"),
    "regression": Task("t", "regression"),
    "multiclass": Task("t", "multiclass", classes=3),
    "multilabel": Task("t", "multilabel", classes=3),
}


def exported(package: ModuleType, base: type) -> dict[str, type]:
    kinds = {name: getattr(package, name) for name in package.__all__}
    return {
        n: kind for n, kind in kinds.items() if inspect.isclass(kind) and issubclass(kind, base) and kind is not base
    }


def rows(title: str) -> list[list[str]]:
    """Cells of the table below a heading of README, without its header."""
    section = README.split(f"\n## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def coded(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def options_of(kind: type) -> set[str]:
    return {name for base in kind.__mro__ if base.__module__.startswith("mtlzoo") for name in _parameters(base)}


def _parameters(kind: type) -> Iterator[str]:
    yield from inspect.signature(kind.__init__).parameters  # type: ignore[misc]


def test_table_of_models_is_the_code() -> None:
    models = exported(mtlzoo, MultiTaskModule)
    assert sorted(coded(row[0])[0] for row in rows("Models")) == sorted(models)
    for name, _, options in rows("Models"):
        kind = models[coded(name)[0]]
        assert set(coded(options)) <= options_of(kind), name
        assert f"(docs/models/{kind.__module__.rpartition('.')[2]}.md)" in name
    said = README.split("All take the options of the base class:")[1].split("\n\n")[0]
    assert set(coded(said)) == set(inspect.signature(MultiTaskModule.__init__).parameters) - {"self", "schema"}


def test_table_of_data_sets_is_the_code() -> None:
    data = exported(mtlzoo.datamodules, MultiTaskDataModule)
    del data[RankingDataModule.__name__]
    assert {coded(row[0])[0] for row in rows("Data sets")} == set(data)
    for name, _, _, licence, download in rows("Data sets"):
        kind = data[coded(name)[0]]
        assert (download == "yes") == ("download" in options_of(kind)), name
        if download == "yes":
            assert licence in kind.licence, name  # type: ignore[attr-defined]


def test_table_of_metrics_is_the_code() -> None:
    listed = {kind: set(coded(metrics)) for kind, metrics in rows("Metrics")}
    listed["binary, with users"] |= listed["binary"]
    assert set(listed) == set(KINDS)
    for kind, task in KINDS.items():
        metrics = TaskMetrics(task, grouped="users" in kind)
        labels = torch.zeros(4, task.label_width)
        metrics.update(torch.randn(4, task.outputs).squeeze(-1), labels, None, torch.zeros(4, dtype=torch.long))
        assert set(metrics.compute()) == listed[kind], kind


def test_every_model_has_a_card() -> None:
    homes = {kind.__module__.rpartition(".")[2]: name for name, kind in exported(mtlzoo, MultiTaskModule).items()}
    cards = {path.stem: path.read_text(encoding="utf-8") for path in (REPOSITORY / "docs/models").glob("*.md")}
    assert {stem: card.splitlines()[0] for stem, card in cards.items()} == {m: f"# {n}" for m, n in homes.items()}
    for card in cards.values():
        assert re.findall(r"^## (.*)", card, re.MULTILINE) == ["Equations", "What differs elsewhere", "Measured"]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_and_paths_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
    # CONTRIBUTING names files that its reader is to make.
    prose = "" if page.name == "CONTRIBUTING.md" else re.sub(r"\w+://\S+", "", text)
    named = re.findall(r"\b(?:configs|docs|benchmarks|tests)/[\w/.-]+\.\w+", prose)
    missing = [link for link in links if not (page.parent / link).exists()]
    assert missing + [path for path in named if not (REPOSITORY / path).exists()] == []


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like a clone, with small files in the publishers' formats where README says that data lie."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "configs").symlink_to(REPOSITORY / "configs")
    fixtures.kuairand.build(folder / "data/kuairand")
    fixtures.census.build(folder / "data/census-income")
    fixtures.tabular.write_table(folder / "data/clicks")
    new = fixtures.tabular.clicks(20, seed=1).drop("click", "rating", "day", "importance")
    new.write_parquet(folder / "data/new.parquet")
    for language, path, text in BLOCK.findall(README):
        if path:
            assert language == "yaml"
            (folder / path).write_text(text)
    return folder


@pytest.mark.slow
def test_every_command_runs(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the order of README, on small data, for one epoch and on one CPU."""
    monkeypatch.chdir(workplace)
    lines = [line for language, _, text in BLOCK.findall(README) if language == "bash" for line in text.splitlines()]
    tried = 0
    for line in lines:
        words = shlex.split(line)
        while "=" in words[0]:
            monkeypatch.setenv(*words.pop(0).split("=", 1))
        if words[0] == "make":
            assert words[1] in TARGETS
        elif words[0] == "pip":
            assert words == ["pip", "install", "-c", "constraints.txt", "."]
            assert (REPOSITORY / words[3]).is_file()
        else:
            assert words[0] == "mtlzoo"
            _run(words[1:])
            tried += 1
    assert tried >= 10
    assert (workplace / "runs/KuaiRand-MMoE-s0/version_0/results.json").is_file()
    assert list((workplace / "runs/KuaiRand-MMoE-s0/version_0/predictions").glob("*.parquet"))
    assert len(pl.read_parquet(workplace / "runs/clicks-MMoE-s0/version_0/predictions", glob=False)) == 20


def _run(words: list[str]) -> None:
    if any(word.endswith(".help") for word in words):
        with pytest.raises(SystemExit, match=r"^0$"):
            main(words)
    elif words[0] == "fit":
        quick = ["--trainer.accelerator", "cpu", "--trainer.devices", "1", "--trainer.strategy", "auto"]
        quick += [] if "--trainer.max_epochs" in words else ["--trainer.max_epochs", "1"]
        quick += ["--data.rows", "5000"] if "Synthetic" in words else []
        main([*words, *quick])
    elif words[0] == "compare":  # ten trainings; tests/zoo/cli/test_cli_compare.py has real ones
        main([*words, "--dry_run", "true"])
    else:
        main(words)


@pytest.mark.slow
@pytest.mark.parametrize(
    "code", [text for language, _, text in BLOCK.findall(README) if language == "python"], ids=lambda text: text[:20]
)
def test_every_python_block_runs(code: str) -> None:
    """As it stands, on fewer rows."""
    assert "rows=50_000" in code
    code = code.replace("50_000", "15_000")
    exec(compile(code, "README.md", "exec"), {})
    assert Path("checkpoints").exists() or any(Path(os.curdir).rglob("*.ckpt"))
