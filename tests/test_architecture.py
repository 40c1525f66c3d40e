"""The house is as docs/architecture.md says: its rooms, what each may not know of, no circle of imports anywhere."""

import ast
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PAGE = (REPOSITORY / "docs" / "architecture.md").read_text()
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
ROOTS: dict[str, str] = PYPROJECT["tool"]["setuptools"]["package-dir"]
LONGEST = 300
"""Lines of a file."""


def modules() -> dict[str, Path]:
    """File of every module of the packages, `__init__` under the package's name."""
    found = {}
    for root, folder in ROOTS.items():
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            inside = path.relative_to(REPOSITORY / folder).with_suffix("").parts
            found[".".join([root, *inside]).removesuffix(".__init__")] = path
    return found


MODULES = modules()


def imported(path: Path) -> Iterator[str]:
    """Modules of ours that a file imports, wherever in it: inside functions too, which is how circles are hidden."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else str(node.module) for name in names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


ARROWS = [(name, there) for name, path in MODULES.items() for there in imported(path) if there in MODULES]


def test_arrows_are_seen() -> None:
    assert ("mtlzoo.datamodules.base", "mtlzoo.datamodules.prepare") in ARROWS
    assert ("mtlzoo.metrics.base", "mtlzoo.callbacks.collectives") in ARROWS
    assert len(ARROWS) > 500


def neighbours() -> dict[str, dict[str, set[str]]]:
    """For each package, which of its modules and packages import which others of them, by anything in them."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for here, there in ARROWS:
        a, b = here.split("."), there.split(".")
        shared = next((place for place, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        if shared < min(len(a), len(b)):
            found[".".join(a[:shared])][a[shared]].add(b[shared])
    return found


@pytest.mark.parametrize("package", sorted(neighbours()))
def test_no_circle(package: str) -> None:
    arrows = neighbours()[package]
    while leaves := {name for name, others in arrows.items() if not others & arrows.keys()}:
        arrows = {name: others for name, others in arrows.items() if name not in leaves}
    assert not arrows, f"in or behind a circle: { {name: others & arrows.keys() for name, others in arrows.items()} }"


ASKS_WHAT_IS_PUBLIC = ("mtlzoo.saved_model", "mtlzoo")
"""A class that a file names is made only if it is one of those that `mtlzoo` lists, which imports none of them."""


def test_nothing_imports_the_room_it_is_in() -> None:
    assert [(here, there) for here, there in ARROWS if here.startswith(f"{there}.")] == [ASKS_WHAT_IS_PUBLIC]


def rooms() -> dict[str, list[str]]:
    """The table of folders: what each says that it imports nothing of."""
    rows = re.findall(r"^\| `([\w/]+)/` \|.*\|([^|]*)\|$", PAGE, flags=re.MULTILINE)
    return {folder: re.findall(r"`([\w/.]+?)/?`", others) for folder, others in rows}


def test_every_room_has_a_line() -> None:
    packages = {path.parent for path in MODULES.values() if path.name == "__init__.py"}
    assert sorted(rooms()) == sorted(folder.relative_to(REPOSITORY).as_posix() for folder in packages)


def name_of(place: str) -> str:
    """Module or package of a place in the repository: ``callbacks/surgery``, ``zoo/schema.py``."""
    root = next(root for root, folder in ROOTS.items() if folder == place.split("/")[0])
    return ".".join([root, *place.removesuffix(".py").split("/")[1:]])


def test_what_a_room_says_that_it_does_not_import() -> None:
    said = [(folder, other) for folder, others in rooms().items() for other in others]
    assert len(said) > 20
    for folder, other in said:
        room, unknown = name_of(folder), name_of(other)
        assert (REPOSITORY / other).exists(), f"{folder}/ names {other}, which is not there"
        broken = [(here, there) for here, there in ARROWS if within(here, room) and within(there, unknown)]
        assert not broken, f"{folder}/ imports {other}"


def within(name: str, place: str) -> bool:
    """Whether a module lies in a folder, or is that file; the folders beside zoo/ are not in it."""
    beside = tuple(root for root in ROOTS if root != "mtlzoo")
    return f"{name}.".startswith(f"{place}.") and not (place == "mtlzoo" and name.startswith(beside))


def test_files_are_short() -> None:
    others = (path for folder in ("tests", "benchmarks") for path in (REPOSITORY / folder).rglob("*.py"))
    lengths = {path: len(path.read_text().splitlines()) for path in (*MODULES.values(), *others)}
    assert len(lengths) > 400
    assert not {str(path): length for path, length in lengths.items() if length > LONGEST}


def test_what_the_page_names_is_there() -> None:
    named = re.findall(rf"(?:{'|'.join([*ROOTS.values(), 'tests'])})/(?:[\w/]+(?:\.py)?)?", PAGE)
    assert len(named) > 60
    assert not [place for place in named if not (REPOSITORY / place).exists()]
    begins = re.findall(r"`(\w+)` (?:in|of) `([\w/]+\.py)`", " ".join(PAGE.split()))
    assert len(begins) >= 3
    assert not [(name, file) for name, file in begins if f"def {name}(" not in (REPOSITORY / file).read_text()]


def test_contributing_leads_here() -> None:
    assert "docs/architecture.md" in (REPOSITORY / "CONTRIBUTING.md").read_text()
