"""The package is what pyproject.toml says: every folder mapped, every data file in, callbacks free of the rest."""

import importlib.metadata
import importlib.resources
import re
import subprocess
import sys
import tomllib
from pathlib import Path, PurePosixPath

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import mtlzoo

REPOSITORY = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
SETUPTOOLS = PYPROJECT["tool"]["setuptools"]
FOLDERS = ("zoo", "datamodules", "callbacks", "configs")


def folder_of(package: str) -> str:
    """Folder that the mapping gives a package; a sub-package lies in its parent's unless it is mapped itself."""
    mapping: dict[str, str] = SETUPTOOLS["package-dir"]
    if package in mapping:
        return mapping[package]
    parent, _, name = package.rpartition(".")
    return f"{folder_of(parent)}/{name}"


def test_every_folder_of_code_is_a_package() -> None:
    found = {path.parent for folder in FOLDERS for path in (REPOSITORY / folder).rglob("__init__.py")}
    listed = {REPOSITORY / folder_of(package) for package in SETUPTOOLS["packages"]}
    assert listed == found
    assert len(listed) == len(SETUPTOOLS["packages"])


def test_every_python_file_is_in_a_package() -> None:
    files = [path for folder in FOLDERS for path in (REPOSITORY / folder).rglob("*.py")]
    assert [path for path in files if not (path.parent / "__init__.py").is_file()] == []


def test_every_data_file_is_in_the_package() -> None:
    patterns = {folder_of(package): [*globs] for package, globs in SETUPTOOLS["package-data"].items()}
    left_out = []
    for folder in FOLDERS:
        for path in (REPOSITORY / folder).rglob("*"):
            inside = path.relative_to(REPOSITORY / folder)
            known = any(_matches(inside, glob) for glob in patterns.get(folder, []))
            if path.is_file() and path.suffix not in (".py", ".pyc") and not known:
                left_out.append(f"{folder}/{inside}")
    assert left_out == []


def _matches(path: Path, glob: str) -> bool:
    # PurePath.match takes ** for exactly one folder before Python 3.13.
    name = glob.removeprefix("**/")
    return PurePosixPath(path).match(name) and (glob != name or len(path.parts) == len(PurePosixPath(glob).parts))


def test_configs_and_the_mark_of_types_are_found_as_resources() -> None:
    assert (importlib.resources.files("mtlzoo") / "py.typed").is_file()
    shipped = importlib.resources.files("mtlzoo.configs") / "data" / "synthetic.yaml"
    assert shipped.read_text() == (REPOSITORY / "configs/data/synthetic.yaml").read_text()


def test_versions_agree() -> None:
    assert importlib.metadata.version("mtlzoo") == mtlzoo.__version__
    first, *said = re.findall(r"^## \[([^\]]*)\]", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first == "Unreleased"
    assert all(Version(version) <= Version(mtlzoo.__version__) for version in said)


def test_constraints_pin_every_dependency_within_its_range() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pins = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines if not line.startswith("#")}
    project = PYPROJECT["project"]
    groups = [
        project["dependencies"],
        *project["optional-dependencies"].values(),
        PYPROJECT["build-system"]["requires"],
    ]
    for text in (line for group in groups for line in group):
        requirement = Requirement(text)
        assert pins[canonicalize_name(requirement.name)] in requirement.specifier, text


@pytest.mark.slow
@pytest.mark.parametrize("module", ["mtlzoo.callbacks", "mtlzoo.cli"])
def test_importing_one_part_loads_no_other(module: str) -> None:
    """Callbacks are for anybody's project, and ``mtlzoo --help`` is to answer at once.

    Lightning's torchmetrics loads matplotlib by itself; that is not ours to mend.
    """
    first = "import lightning; " if module == "mtlzoo.callbacks" else ""
    code = f"import sys; {first}before = set(sys.modules); from {module} import *; "
    code += "print(*sorted(set(sys.modules) - before), '', *sorted(sys.modules), sep='\\n')"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    new, loaded = (part.split() for part in printed.split("\n\n"))
    ours = [name for name in new if name.startswith("mtlzoo")]
    assert module in ours
    allowed = ("mtlzoo", "mtlzoo.version", module)
    assert [name for name in ours if name not in allowed and not name.startswith(f"{module}.")] == []
    assert [name for name in ("pandas", "polars", "wandb", "jsonargparse") if name in loaded] == []
    assert "matplotlib" not in new


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in /proc")
def test_importing_data_modules_starts_no_threads_of_polars() -> None:
    """A process that is forked later would wait for them forever."""
    code = "import os; from mtlzoo.datamodules import *; "
    code += "print(*(open(f'/proc/self/task/{task}/comm').read() for task in os.listdir('/proc/self/task')))"
    names = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not [name for name in names if re.fullmatch(r"polars-\d+", name)]


def test_public_names_exist_and_are_listed() -> None:
    for name in mtlzoo.__all__:
        assert getattr(mtlzoo, name) is not None
        assert name in dir(mtlzoo)
    with pytest.raises(AttributeError, match="no attribute 'MMOE'"):
        _ = mtlzoo.MMOE


def test_make_bench_runs_every_benchmark() -> None:
    scripts = {path.name for path in (REPOSITORY / "benchmarks").glob("*.py") if "__main__" in path.read_text()}
    scripts.remove("device.py")  # of a GPU
    assert set(re.findall(r"python benchmarks/(\w+\.py)", (REPOSITORY / "Makefile").read_text())) == scripts
