"""The wheel beside a foreign project that has folders of the same names: callbacks, datamodules, configs, zoo."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from filelock import FileLock

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDERS = {
    "zoo": "mtlzoo",
    "datamodules": "mtlzoo/datamodules",
    "callbacks": "mtlzoo/callbacks",
    "configs": "mtlzoo/configs",
}
DECOY = "class Foreign:\n    pass\n"
PAGE = (REPOSITORY / "docs/own_project.md").read_text(encoding="utf-8")
PROJECT = dict(re.findall(r"^```python (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
SCRIPTS = [path for path, code in PROJECT.items() if ".fit(" in code]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this run share; the first one here builds wheel and project, the others wait."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "wheel"
    with FileLock(f"{folder}.lock"):
        if not (folder / "whole").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            _install(_build(folder), folder / "foreign")
            (folder / "whole").touch()
    return folder


def _build(folder: Path) -> Path:
    """A wheel built from a source distribution, which is built from the files that a clone would have."""
    source, out = folder / "source", folder / "dist"
    for name in FOLDERS:
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    _run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)], folder)
    (built,) = out.glob("*.whl")
    return built


def _install(wheel: Path, folder: Path) -> None:
    """A foreign project with its own environment, in which the wheel is; in own/ the one of docs/own_project.md."""
    for name in FOLDERS:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(DECOY)
    for path, code in PROJECT.items():
        (folder / "own" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "own" / path).write_text(code)
    environment = folder / ".venv"
    _run([sys.executable, "-m", "venv", "--without-pip", str(environment)], folder)
    python = str(environment / "bin" / "python")
    _run([sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", str(wheel)], folder)
    # Dependencies come from the environment of the tests; a .pth adds its folder and runs no .pth file within, so the
    # editable install that is there stays out.
    site = next((environment / "lib").glob("python*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))


@pytest.fixture
def wheel(shared: Path) -> Path:
    """The wheel."""
    return next((shared / "dist").glob("*.whl"))


@pytest.fixture
def project(shared: Path) -> Path:
    """Folder of the foreign project."""
    return shared / "foreign"


def _run(command: Sequence[str], folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": "", "PYTHONWARNINGS": ""}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _python(project: Path, *words: str) -> str:
    return _run([str(project / ".venv/bin/python"), *words], project)


def test_wheel_holds_every_file(wheel: Path) -> None:
    expected = {
        f"{name}/{path.relative_to(REPOSITORY / folder)}"
        for folder, name in FOLDERS.items()
        for path in (REPOSITORY / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == expected


def test_both_projects_import_their_own_and_ours_trains(project: Path, tmp_path: Path) -> None:
    code = """
import sys
import callbacks, configs, datamodules, zoo
import mtlzoo, mtlzoo.callbacks, mtlzoo.configs, mtlzoo.datamodules
from importlib.resources import files
from pathlib import Path
from mtlzoo.cli import main

for foreign in (callbacks, configs, datamodules, zoo):
    ours = mtlzoo if foreign is zoo else getattr(mtlzoo, foreign.__name__)
    assert foreign.Foreign and not hasattr(ours, "Foreign"), ours
    assert "site-packages" in ours.__file__ and "site-packages" not in foreign.__file__, ours.__file__
assert mtlzoo.MMoE.__module__ == "mtlzoo.mmoe"
assert sum(path.name.endswith(".yaml") for path in (files("mtlzoo.configs") / "data").iterdir()) > 3
main(["fit", *sys.argv[1:]])
(config,) = Path(sys.argv[-1]).glob("*/*/config.yaml")
main(["test", "-c", str(config), "--ckpt_path", "best"])
"""
    options = {
        "model": "MMoE",
        "model.experts": "2",
        "data": "Synthetic",
        "data.rows": "2000",
        "data.prepared": str(tmp_path / "prepared"),
        "trainer.max_epochs": "1",
        "trainer.default_root_dir": str(tmp_path / "runs"),
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    assert "auc" in _python(project, "-c", code, *words)
    assert len([*(tmp_path / "runs").glob("*/*/results.json")]) == 1


def test_command_answers(project: Path) -> None:
    console = str(project / ".venv/bin/mtlzoo")
    assert "fit" in _run([console, "--help"], project)
    assert _run([console, "--version"], project) == _python(project, "-m", "mtlzoo", "--version")


def test_project_of_the_docs_trains_with_surgery(project: Path, tmp_path: Path) -> None:
    """As it stands on the page; of mtlzoo, the callbacks alone are loaded."""
    watch = """
import runpy, sys
sys.path.insert(0, ".")
scripts = sys.argv[1:]
for script in scripts:
    sys.argv = [script]
    print("RUNS", script)
    found = runpy.run_path(script)
    weights = (found.get("surgery") or found["balancing"]).weights
    assert weights.shape[-1] == 2 and weights.isfinite().all() and weights.any(), (script, weights)
    assert script != "train.py" or (weights - 1).abs().max() > 0.01, weights  # a conflict that PCGrad acted on
ours = [name for name in sys.modules if name.startswith("mtlzoo.")]
assert ours and all(name == "mtlzoo.version" or name.startswith("mtlzoo.callbacks") for name in ours), ours
assert "site-packages" in sys.modules["mtlzoo"].__file__, sys.modules["mtlzoo"]
assert "own" in sys.modules["datamodules"].__file__, sys.modules["datamodules"]
"""
    folder = shutil.copytree(project / "own", tmp_path / "own")  # others write there meanwhile
    printed = _run([str(project / ".venv/bin/python"), "-c", watch, *SCRIPTS], folder)
    assert ["of the last step: " in part for part in printed.split("RUNS ")[1:]] == [True] * len(SCRIPTS)


def test_the_docs_have_such_a_project() -> None:
    assert {"callbacks/__init__.py", "datamodules/__init__.py"} < set(PROJECT)
    assert {"train.py", "manual.py"} < set(SCRIPTS)
    assert "GradientSurgery(PCGrad()" in PROJECT["train.py"]
