"""Every YAML that is shipped runs: a training of one batch and its validation, on small data of the right kind."""

from collections.abc import Callable
from importlib.resources import files
from inspect import signature
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

import mtlzoo
from fixtures.aliccp import write_aliccp
from fixtures.aliexpress import write_aliexpress
from fixtures.amazon import write_amazon, write_given
from fixtures.census import write_census
from fixtures.ciao import write_trust
from fixtures.kuairand import write_kuairand
from fixtures.kuairec import write_kuairec
from fixtures.lastfm import write_lastfm
from fixtures.movielens import write_movielens
from fixtures.tenrec import write_tenrec
from fixtures.tiktok import write_tiktok
from fixtures.yelp import write_yelp
from mtlzoo import datamodules
from mtlzoo.callbacks import rules
from mtlzoo.cli import main
from mtlzoo.cli.cell_check import CellCheck
from mtlzoo.compare.file import read_comparison
from mtlzoo.compare.matrix import Matrix

CONFIGS = Path(str(files("mtlzoo.configs")))
ALL = sorted(path.relative_to(CONFIGS) for path in CONFIGS.rglob("*.yaml"))
FILES = [file for file in ALL if file.parts[0] != "compare"]  # those are no configs of one training
COMPARISONS = [file for file in ALL if file.parts[0] == "compare"]
MODEL = ["--model", "SharedBottom", "--model.bottom_units", "[8]"]
SMALL = ["--data.rows", "600", "--data.users", "100", "--data.items", "100"]
DATA = ["--data", "Synthetic", *SMALL]
# The labels of Synthetic are no funnel.
OPTIONS = {"esmm.yaml": ["--model.require_funnel", "false"]}
# Nobody's laptop has eight GPUs: what stands for the machine is replaced, everything else stays.
ON_CPU = ["--trainer.accelerator", "cpu", "--trainer.devices", "1"]


def small_data(path: Path, root: Path) -> list[str]:
    """Options that make the data of a config small, or point it at small files in the publisher's format."""
    config = yaml.safe_load(path.read_text())
    name = config["class_path"].rpartition(".")[2]
    if name == "Synthetic":
        return SMALL
    WRITERS[name](root, config["init_args"])
    return ["--data.root", str(root)]


def write_clicks(root: Path) -> None:
    """The table that configs/data/tabular.yaml describes."""
    rows = range(300)
    root.mkdir()
    pl.DataFrame(
        {
            "user_id": [f"u{i % 20}" for i in rows],
            "item_id": [i % 30 for i in rows],
            "price": [float(i % 7) for i in rows],
            "tags": [["a", "b"][: i % 3] for i in rows],
            "click": [int(i % 3 == 0) for i in rows],
            "like": [int(i % 5 == 0) for i in rows],
            "day": [i // 10 for i in rows],
        }
    ).write_parquet(root / "clicks.parquet")


WRITERS: dict[str, Callable[[Path, dict[str, Any]], object]] = {
    "AliCCP": lambda root, _: write_aliccp(root),
    "AliExpress": lambda root, options: write_aliexpress(root, options["country"]),
    "AmazonReviews": lambda root, options: (
        write_given(root)
        if options["split"] == "given"
        else write_amazon(root, options["version"], options["category"])
    ),
    "CensusIncome": lambda root, _: write_census(root),
    "Ciao": lambda root, _: write_trust(root),
    "Epinions": lambda root, _: write_trust(root, columns=6),
    "KuaiRand": lambda root, options: write_kuairand(root, options["version"]),
    "KuaiRec": lambda root, _: write_kuairec(root),
    "LastFM": lambda root, _: write_lastfm(root),
    "MovieLens": lambda root, options: write_movielens(root, options["version"]),
    "TabularDataModule": lambda root, _: write_clicks(root),
    "Tenrec": lambda root, options: write_tenrec(root, options["scenario"]),
    "Yelp": lambda root, _: write_yelp(root),
    "TikTok": lambda root, options: write_tiktok(root, options["track"]),
}
"""Small files for the configs of a data set."""


def first_run(sweep: dict[str, Any]) -> list[str]:
    """What an agent of W&B starts for the first values of a sweep."""
    firsts = {
        n: p["values"][0] if "values" in p else p.get("value", p.get("min")) for n, p in sweep["parameters"].items()
    }
    options = create_sweep_command_args({"args": {name: {"value": firsts[name]} for name in sorted(firsts)}})["args"]
    return [word for part in sweep["command"] for word in (options if part == "${args}" else [part])]


def data_of(kind: type, *, ranks: bool) -> Path:
    """The first config of a data set or of one that derives from it."""
    for path in sorted((CONFIGS / "data").iterdir()):
        config = yaml.safe_load(path.read_text())
        found = getattr(datamodules, config["class_path"].rpartition(".")[2])
        if issubclass(found, kind) and ranks == ("recommend" in str(config["init_args"].get("tasks"))):
            return path.relative_to(CONFIGS)
    raise AssertionError(f"configs/data has none of {kind.__name__}.")


def words_of(file: Path, root: Path) -> list[str]:
    """The command line that uses a config of its group."""
    path = CONFIGS / file
    group = file.parts[0]
    if group == "model":
        return ["--model", str(path), *OPTIONS.get(file.name, []), *DATA, *ON_CPU]
    if group == "data":
        tasks = yaml.safe_load(path.read_text())["init_args"].get("tasks", [])
        model = ["--model", "PMTRec"] if isinstance(tasks, list) and "recommend" in tasks else MODEL
        return [*model, "--data", str(path), *small_data(path, root), *ON_CPU]
    if group == "trainer":
        return [*MODEL, *DATA, "--trainer", str(path), *ON_CPU]
    if group == "experiment":
        config = yaml.safe_load(path.read_text())["data"]
        data = path if isinstance(config, dict) else path.parent / config
        if isinstance(config, dict):
            data = root.with_suffix(".yaml")
            data.write_text(yaml.dump(config))
        return ["-c", str(path), *small_data(data, root), *ON_CPU]
    if group == "sweep":
        words = first_run(yaml.safe_load(path.read_text()))
        experiment = Path(words[words.index("-c") + 1]).relative_to("configs")
        return [*words[3:], *words_of(experiment, root)[2:]]
    if group == "preset":
        name, _, learner = path.stem.partition("-")
        used = words_of(data_of(getattr(datamodules, name), ranks=learner == "PMTRec"), root)
        return ["--model", learner, *used[used.index("--data") :]] if learner else used
    if group in ("logger", "callbacks"):
        return [*MODEL, *DATA, "-c", str(path), *ON_CPU]
    raise AssertionError(f"configs/{file}: no test knows how the group {group!r} is used; say it here.")


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the rows of `DATA` are prepared, once for all configs."""
    return tmp_path_factory.mktemp("prepared")


@pytest.mark.parametrize("file", FILES, ids=str)
@pytest.mark.filterwarnings("ignore:CensusIncome. only")
@pytest.mark.filterwarnings("ignore:.*fast_dev_run:UserWarning")
def test_runs(file: Path, tmp_path: Path, made_up: Path) -> None:
    words = words_of(file, tmp_path / "raw")
    if "Synthetic" in words:
        words += ["--data.prepared", str(made_up)]
    for command in ("fit", "test") if file.parts[0] in ("experiment", "trainer") else ("fit",):
        main([command, *words, "--trainer.fast_dev_run", "1"])
    assert not Path("runs").exists() or file.parts[0] == "logger"


def test_every_model_and_data_set_has_a_config() -> None:
    objects = [file for file in FILES if file.parts[0] in ("model", "data")]
    classes = {yaml.safe_load((CONFIGS / file).read_text())["class_path"] for file in objects}
    for package, base in ((mtlzoo, mtlzoo.MultiTaskModule), (datamodules, datamodules.MultiTaskDataModule)):
        for name in package.__all__:
            public = getattr(package, name)
            abstract = public in (base, datamodules.RankingDataModule)
            if isinstance(public, type) and issubclass(public, base) and not abstract:
                assert f"{package.__name__}.{name}" in classes


def test_every_rule_has_a_config() -> None:
    """One file each, for the callback that takes the rule."""
    parts = [
        yaml.safe_load((CONFIGS / file).read_text())["trainer"]["callbacks+"]
        for file in FILES
        if "callbacks" in file.parts
    ]
    used = [(p["init_args"]["rule"]["class_path"], p["class_path"]) for p in parts if "rule" in p["init_args"]]
    bases = {
        rules.GramianRule: "GradientSurgery",
        rules.GradientRule: "GradientSurgery",
        rules.LossRule: "LossBalancing",
    }
    wanted = [
        (f"mtlzoo.callbacks.{name}", f"mtlzoo.callbacks.{callback}")
        for name in rules.__all__
        for base, callback in bases.items()
        if issubclass(getattr(rules, name), base) and getattr(rules, name) not in bases
    ]
    assert sorted(used) == sorted(wanted)


def test_shipped_files_are_found_by_name_from_any_folder(tmp_path: Path) -> None:
    """`tmp_path` has no configs/; a file of that name in the working folder comes first."""
    words = [*DATA, *ON_CPU, "--trainer.fast_dev_run", "1"]
    main(["fit", "--model", "configs/model/mmoe.yaml", *words])
    main(["fit", "--model=configs/model/mmoe.yaml", *words])
    own = tmp_path / "configs/model/mmoe.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("class_path: mtlzoo.MMoE\ninit_args: {experts: none}\n")
    with pytest.raises(SystemExit):
        main(["fit", "--model", "configs/model/mmoe.yaml", *words])


@pytest.mark.parametrize("file", COMPARISONS, ids=str)
@pytest.mark.filterwarnings("ignore:CensusIncome. only")
def test_every_cell_of_a_comparison_can_work(file: Path) -> None:
    """On small files where the comparison looks for the data, which are relative to the working folder."""
    comparison = read_comparison(CONFIGS / file)
    for part in comparison.data:
        given = {option.name.removeprefix("data."): option.value for option in part.options}
        name = given.pop("data")
        if name.endswith(".yaml"):
            config = yaml.safe_load((CONFIGS / name.removeprefix("configs/")).read_text())
            name, options = config["class_path"].rpartition(".")[2], config["init_args"]
        else:
            options = {key: value.default for key, value in signature(getattr(datamodules, name)).parameters.items()}
        if name in WRITERS:
            options |= given
            root = Path(options["root"])
            root.parent.mkdir(exist_ok=True)
            WRITERS[name](root, options)
    matrix = Matrix(comparison, CellCheck(CONFIGS / file))
    cells = matrix.wanted(lambda cell: 0.0)
    assert len({cell.folder for cell in cells}) == len(cells) >= len(matrix.contenders) * len(comparison.seeds)


@pytest.mark.slow
def test_demo_ends_with_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", "-c", "configs/experiment/demo.yaml"])
    main(["test", "-c", "runs/Synthetic-MMoE-s0/version_0/config.yaml", "--ckpt_path", "best"])
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("is_click", "long_view", "is_like", "auc", "mean"))
