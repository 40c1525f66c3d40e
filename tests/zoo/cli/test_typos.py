"""A misspelt command, model or data set is answered before what takes seconds to import is imported."""

import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import pytest

import mtlzoo.callbacks
from mtlzoo import MODELS
from mtlzoo.cli import _lasting
from mtlzoo.cli.parser import explain, import_public_classes
from mtlzoo.cli.typos import refuse_typos
from mtlzoo.datamodules import DATA_SETS

HEAVY = {"torch", "lightning", "numpy", "polars", "pandas", "pyarrow", "scipy", "jsonargparse", "wandb"}
UNKNOWN = 'Parser key "{}":\n  Expected a dot import path string: {}\n'
"""As the parser tells of a class that it does not find."""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--version"], ""),
        (["ft"], "no command 'ft'. Did you mean 'fit'?"),
        (["fit", "--model", "MMeE"], "mtlzoo fit: error: --model: no class or file 'MMeE'. Did you mean 'MMoE'?"),
        (["test", "--data=KuaiRnd", "--model=MMoE"], "mtlzoo test: error: --data: no class or file 'KuaiRnd'."),
        (["prepare", "--data", "Tenrek"], "mtlzoo prepare: error: --data: no class or file 'Tenrek'."),
    ],
)
def test_imports_nothing_heavy(words: list[str], said: str) -> None:
    script = (
        f"import sys; from mtlzoo.cli import main\ntry:\n    main({words})\nexcept SystemExit as end:\n"
        f"    assert end.code == 2\nheavy = {HEAVY} & set(sys.modules)\nassert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert said in done.stderr


@pytest.mark.parametrize(("option", "known", "typo"), [("model", MODELS, "MMeE"), ("data", DATA_SETS, "KuaiRnd")])
def test_says_what_the_parser_says(
    option: str, known: dict[str, str], typo: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import_public_classes()
    told = explain(UNKNOWN.format(option, typo))
    assert all(name in told for name in known)
    monkeypatch.delitem(sys.modules, "torch")
    with pytest.raises(SystemExit, match="2"):
        refuse_typos(["fit", f"--{option}", typo])
    ours = capsys.readouterr().err.removeprefix("mtlzoo fit: error: ").rstrip("\n")
    assert ours.partition("Known are ")[0] == told.partition("Known are ")[0]
    theirs = set(told.partition("Known are ")[2].rstrip(".").split(", "))
    assert set(ours.partition("Known are ")[2].rstrip(".").split(", ")) <= theirs  # tests may have models of their own


def test_leaves_all_else_to_the_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    for name in (*MODELS, *mtlzoo.callbacks.__all__, "mine.Model", "", "Nothing", "configs/model/mmoe.yaml"):
        refuse_typos(["fit", "--model", name, "--data", "Synthetic", "--trainer.max_epochs"])
    refuse_typos(["fit", "--model", "MMeE", "--help"])


def test_a_class_of_somebody_else_is_known() -> None:
    """There is none without torch."""
    assert "torch" in sys.modules
    refuse_typos(["fit", "--model", "MMeE"])


@pytest.mark.parametrize(
    ("alone", "enabled", "expected"),
    [
        (True, True, ["disable", "imported", "freeze", "enable"]),
        (False, True, ["imported"]),
        (True, False, ["imported"]),
    ],
)
def test_no_garbage_is_looked_for_in_what_the_command_of_a_process_imports(
    alone: bool, enabled: bool, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    calls = {name: partial(done.append, name) for name in ("disable", "enable", "freeze")}
    monkeypatch.setattr("mtlzoo.cli.gc", SimpleNamespace(isenabled=lambda: enabled, **calls))
    with _lasting(alone=alone):
        done.append("imported")
    assert done == expected
