"""The checklists of CONTRIBUTING.md, followed to the letter in a temporary copy."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
TEXT = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^( *)```(\w+) (\S+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.slow


class Checkout:
    """A copy of the repository with checklists followed."""

    def __init__(self, folder: Path, *titles: str) -> None:
        self.folder = folder
        for name in ("zoo", "datamodules", "callbacks", "configs", "tests", "docs"):
            shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(REPOSITORY / "pyproject.toml", folder)
        self.created: list[str] = []
        for title in titles:
            self._follow(TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0])
        # The mapping of pyproject.toml as links; found before the installed one.
        package = folder / "path/mtlzoo"
        package.mkdir(parents=True)
        for part in [*(folder / "zoo").iterdir(), *(folder / n for n in ("callbacks", "configs", "datamodules"))]:
            (package / part.name).symlink_to(part)

    def _follow(self, section: str) -> None:
        for indent, language, path, block in BLOCK.findall(section):
            text = re.sub(f"^{indent}", "", block, flags=re.MULTILINE)
            if language == "diff":
                self._apply(self.folder / path, text)
            else:
                self.created.append(path)
                (self.folder / path).write_text(text)

    def _apply(self, path: Path, diff: str) -> None:
        text = path.read_text()
        for hunk in re.split(r"^@@.*\n", diff, flags=re.MULTILINE)[1:]:
            lines = hunk.splitlines(keepends=True)
            old = "".join(line[1:] for line in lines if line[0] != "+")
            assert text.count(old) == 1, f"{path.name} has not exactly once\n{old}"
            text = text.replace(old, "".join(line[1:] for line in lines if line[0] != "-"))
        path.write_text(text)

    def run(self, *words: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(self.folder / "path")}
        command = [sys.executable, *words]
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def fit(self, *runs: dict[str, str]) -> None:
        """Two batches of each, all in one process."""
        common = {"trainer.fast_dev_run": "2", "trainer.accelerator": "cpu"}
        commands = [["fit", *(f"--{key}={value}" for key, value in {**run, **common}.items())] for run in runs]
        self.run("-c", f"from mtlzoo.cli import main\nfor command in {commands}:\n    main(command)")

    def test(self, *options: str) -> set[str]:
        """Runs tests in one process; the lines of those that passed."""
        printed = self.run("-m", "pytest", "-v", "-p", "no:cacheprovider", "-p", "no:xdist", *options)
        return set(re.findall(r"^(\S+) PASSED", printed, re.MULTILINE))

    def lint(self) -> None:
        """Formatted and clean, the new lines in sorted places."""
        touched = [*self.created, "zoo/__init__.py", "datamodules/__init__.py", "callbacks/__init__.py"]
        python = [path for path in touched if path.endswith(".py")]
        self.run("-m", "ruff", "format", "--check", "--no-cache", *python)
        self.run("-m", "ruff", "check", "--no-cache", *python)


def test_checklists(tmp_path: Path) -> None:
    """All of them in one copy: what is dear are the processes, of which each imports torch."""
    checkout = Checkout(tmp_path / "checkout", "Add a model", "Add a data set", "Add a callback")
    assert len(checkout.created) == 6
    checkout.lint()
    files = ("tests/zoo/test_module.py", "tests/datamodules/test_contract.py", "tests/callbacks/test_my_callback.py")
    passed = checkout.test(*files, "-k", "MyModel or MyData or exported or my_callback", "--basetemp", "kept")
    for file, name in zip(files, ("MyModel", "MyData", "time"), strict=True):
        assert any(test.startswith(file) and name in test for test in passed), f"{file}, {name}: none of {passed}"
    (films, *_) = sorted(checkout.folder.glob("kept/*/raw/films.csv"))
    data = {"data": "Synthetic", "data.rows": "2000"}
    checkout.fit(
        {"model": "MyModel", **data},
        {"model": "configs/model/my_model.yaml", **data},
        {"model": "SharedBottom", "data": "MyData", "data.root": str(films.parent)},
        {"model": "SharedBottom", **data, "trainer.callbacks+": "MyCallback", "trainer.callbacks.every_n_steps": "10"},
    )


def test_commands_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`?make (\w+)", TEXT)) <= targets
