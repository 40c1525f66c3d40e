"""Presets: what nobody says is as it was found good on the data set; what somebody says comes first."""

from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from jsonargparse import dict_to_namespace

import mtlzoo
from fixtures.kuairand import write_kuairand
from mtlzoo import configs, datamodules
from mtlzoo.cli import main
from mtlzoo.cli.parser import listed
from mtlzoo.cli.preset import by_rows, preset
from mtlzoo.datamodules import KuaiRand


def of_data(kind: str, model: str = "SharedBottom", **given: Any) -> dict[str, Any]:
    parts = {
        part: {name: given.pop(name) for name in [*given] if (name == "encoder") == (part == "model")}
        for part in ("model", "data")
    }
    classes = {"model": model if "." in model else f"mtlzoo.{model}", "data": kind}
    return preset(dict_to_namespace({part: {"class_path": classes[part], "init_args": parts[part]} for part in parts}))


RULED = ("table_weight_decay", "averaging")
KUAIRAND = of_data("mtlzoo.datamodules.KuaiRand", version="pure")


def fit(caplog: pytest.LogCaptureFixture, *words: str) -> tuple[dict[str, Any], str]:
    """config.yaml of a training of one step, and the line that tells of a preset."""
    caplog.set_level("INFO")
    quick = ["--trainer.max_steps", "1", "--trainer.limit_val_batches", "0", "--trainer.accelerator", "cpu"]
    main(["fit", "--data", "KuaiRand", "--data.root", "raw", *quick, *words])
    (config,) = Path("runs").rglob("config.yaml")
    return yaml.safe_load(config.read_text()), next((x for x in caplog.messages if x.startswith("Preset")), "")


def set_in(config: dict[str, Any]) -> dict[str, Any]:
    """The options of the preset as a run had them."""
    parts = {part: config[part]["init_args"] for part in ("model", "data")} | {"trainer": config["trainer"]}
    return {name: parts[name.partition(".")[0]][name.partition(".")[2]] for name in KUAIRAND}


@pytest.fixture(autouse=True)
def raw() -> None:
    write_kuairand(Path("raw"), "pure")


def test_fills_what_nobody_said(caplog: pytest.LogCaptureFixture) -> None:
    config, line = fit(caplog, "--model", "SharedBottom")
    assert set_in(config) == KUAIRAND
    assert all(f"{name} {value}" in line for name, value in KUAIRAND.items())


def test_what_somebody_said_comes_first(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """Also where it is the default, and where a config says it."""
    Path("own.yaml").write_text("data: {class_path: KuaiRand, init_args: {batch_size: 77}}\n")
    config, line = fit(caplog, "--model", "SharedBottom", "--model.averaging", "0", "-c", "own.yaml")
    assert set_in(config) == {**KUAIRAND, "model.averaging": 0.0, "data.batch_size": 77}
    assert "averaging" not in line
    assert "batch_size" not in line


def test_none_and_a_run_again(caplog: pytest.LogCaptureFixture) -> None:
    config, line = fit(caplog, "--model", "SharedBottom", "--preset", "none")
    assert config["model"]["init_args"]["averaging"] == 0
    assert not line
    main(["fit", "-c", str(next(Path("runs").rglob("config.yaml")))])
    assert "Preset" not in caplog.text


def test_an_average_of_somebody_stays_alone(caplog: pytest.LogCaptureFixture) -> None:
    config, _ = fit(caplog, "--model", "SharedBottom", "--trainer.callbacks+=EMAWeightAveraging")
    assert config["model"]["init_args"]["averaging"] == 0


class Newer(KuaiRand):
    """Somebody's own."""


class Finer(mtlzoo.PMTRec):
    """Somebody's own."""


Strange, Odd = (type(name, (), {"__module__": __name__}) for name in ("KuaiRand", "PMTRec"))


def test_holds_for_what_it_was_found_on() -> None:
    assert KUAIRAND
    assert of_data("mtlzoo.datamodules.KuaiRand", version="27k") == {}
    office = {"version": "2014", "category": "Office_Products"}
    amazon = of_data("mtlzoo.datamodules.AmazonReviews", "PMTRec", **office, encoder="mf")
    assert amazon["model.table_weight_decay"] == 3e-3
    graph = of_data("mtlzoo.datamodules.AmazonReviews", "PMTRec", **office, encoder="lightgcn")
    assert graph == {**amazon, "model.table_weight_decay": 1e-3}
    other = of_data("mtlzoo.datamodules.Yelp", "PMTRec", encoder="mf")
    assert other == {**amazon, "model.table_weight_decay": 1e-4}
    assert (
        of_data("mtlzoo.datamodules.AmazonReviews", "PMTRec", version="2014", category="Books", encoder="mf") == other
    )
    assert of_data("mtlzoo.datamodules.Yelp", "PMTRec", encoder="ngcf")["model.table_weight_decay"] == 1e-5
    ciao = [of_data("mtlzoo.datamodules.Ciao", "PMTRec", encoder=name) for name in ("mf", "lightgcn", "ngcf")]
    assert ciao == [{**amazon, "model.table_weight_decay": decay} for decay in (1e-5, 1e-5, 1e-6)]
    rating = ("rating", "genres", "interaction")
    assert of_data("mtlzoo.datamodules.MovieLens", version="100k", tasks=rating)["data.batch_size"] == 1024
    assert of_data("mtlzoo.datamodules.MovieLens", "PMTRec", version="100k", tasks=["recommend"]) == {}
    assert of_data(f"{__name__}.Newer", version="pure") == KUAIRAND
    assert of_data(f"{__name__}.Strange", version="pure") == {}
    assert of_data("mtlzoo.datamodules.Yelp", f"{__name__}.Finer", encoder="mf") == other
    assert of_data("mtlzoo.datamodules.Yelp", f"{__name__}.Odd", encoder="mf") == {}
    assert of_data("mtlzoo.datamodules.TabularDataModule") == {}


@pytest.mark.parametrize("file", sorted((Path(configs.__file__).parent / "preset").iterdir()), ids=lambda x: x.stem)
def test_names_what_there_is(file: Path) -> None:
    """Data set, model, and the variants that it holds for."""
    data, _, model = file.stem.partition("-")
    kinds = {"data": getattr(datamodules, data), "model": getattr(mtlzoo, model or "MMoE")}
    for name in {name for values in listed(yaml.safe_load(file.read_text())) for name in values.get("only", {})}:
        part, _, option = name.partition(".")
        assert option in signature(kinds[part].__init__).parameters


def by_rule(caplog: pytest.LogCaptureFixture, *words: str) -> tuple[float, float]:
    """Decay and averaging of a training of a step on 3,000 made-up rows, or as many as `words` say."""
    caplog.set_level("INFO")
    quick = ["--trainer.max_steps", "1", "--trainer.limit_val_batches", "0", "--trainer.accelerator", "cpu"]
    made_up = ["--data", "Synthetic", "--data.rows", "3000", "--data.users", "100", "--model", "SharedBottom"]
    main(["fit", *made_up, *quick, *words])
    (folder,) = Path("runs").glob("*/*")
    options = yaml.safe_load((folder / "config.yaml").read_text())["model"]["init_args"]
    noted = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["hyper_parameters"]
    (decay, averaging), of_model = ([one[name] for name in RULED] for one in (options, noted))
    assert of_model == [decay, averaging]
    return decay, averaging


def test_a_rule_for_unknown_data(caplog: pytest.LogCaptureFixture) -> None:
    assert by_rule(caplog) == (8e-3, 0.998)
    assert "Preset: model.table_weight_decay 0.008, model.averaging 0.998 (--preset" in caplog.text


def test_few_rows_may_be_seen_more_often(caplog: pytest.LogCaptureFixture) -> None:
    by_rule(caplog, "--trainer.limit_val_batches", "1")
    assert "trainer.max_epochs 100 (--preset none leaves them out)" in caplog.text
    (config,) = Path("runs").rglob("config.yaml")
    assert yaml.safe_load(config.read_text())["trainer"]["max_epochs"] == 100

    def epochs(rows: int, patience: int | None = 2, limit: float | None = None, **model: Any) -> int | None:
        options = {"model": {"init_args": model}, "patience": patience, "trainer": {"limit_val_batches": limit}}
        return by_rows(rows, dict_to_namespace(options)).get("trainer.max_epochs")

    counts = {0: 100, 1: 100, 10_000: 100, 10_100: 100, 40_000: 25, 49_999: 21, 50_000: None, 10**9: None}
    assert {rows: epochs(rows) for rows in counts} == counts
    assert epochs(40_000, sparse=True, schedule="plateau") == epochs(40_000, limit=1.0) == 25
    assert epochs(40_000, schedule="cosine") is epochs(40_000, schedule="linear") is None
    for nothing_ends_it in ({"patience": None}, {"limit": 0}, {"limit": 0.0}):
        assert epochs(40_000, **nothing_ends_it) is None


def test_the_rule_counts_rows_of_train(caplog: pytest.LogCaptureFixture) -> None:
    assert by_rule(caplog, "--data.rows", "500000") == (1000 / 400_000, 0.998)


def test_what_somebody_said_comes_before_the_rule(caplog: pytest.LogCaptureFixture) -> None:
    assert by_rule(caplog, "--model.averaging", "0") == (8e-3, 0)


def test_the_rule_is_not_for_sparse_tables(caplog: pytest.LogCaptureFixture) -> None:
    assert by_rule(caplog, "--model.sparse", "true") == (0, 0)


def test_a_training_that_goes_on_keeps_its_options(caplog: pytest.LogCaptureFixture) -> None:
    assert by_rule(caplog, "--preset", "none") == (0, 0)
    (last,) = Path("runs").rglob("last.ckpt")
    assert by_rule(caplog, "--ckpt_path", str(last), "--trainer.max_steps", "2") == (0, 0)
    assert "Preset" not in caplog.text
