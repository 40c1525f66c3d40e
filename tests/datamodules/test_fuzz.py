"""Every data module meets damaged files: it refuses them in words, or makes of them what it made before.

Each case takes the files of a fixture, damages one, prepares, and judges: *refused* by an error of ours; *identical*
data; or *valid*: cells were changed, all of them to values that the publisher may write (by the slow readers of
`fuzz.forms`), and only the rows of those lines differ. Anything else fails: an error of a library, or data that mean
something else. ``MTLZOO_FUZZ=2500`` runs that many cases, from number ``MTLZOO_FUZZ_FROM`` on.
"""

import os
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
from fuzz.damage import damaged
from fuzz.fixture import Published
from fuzz.forms import Table
from fuzz.judge import Data, difference, prepared, refusal
from fuzz.published import sources

from mtlzoo.datamodules import MultiTaskDataModule

SOURCES = sources()
CASES = int(os.environ.get("MTLZOO_FUZZ", "300"))
FIRST = int(os.environ.get("MTLZOO_FUZZ_FROM", "0"))
OTHER = "another file of the set"


class Fixture:
    """A data module's files, and what they are prepared to."""

    def __init__(self, published: Published, folder: Path) -> None:
        assert published.build is not None
        self.published, self.folder = published, folder
        self.module: MultiTaskDataModule = published.build(folder / "raw")
        # Without what is derived of its root.
        self.files = [path.relative_to(self.module.root) for path in published.build(folder / "raw").files()]
        self.before = prepared(self.module, self.module.root, folder / "before")

    def case(self, number: int) -> tuple[str, str]:
        """A verdict, and what happened."""
        draw = random.Random(number)
        file = draw.choice(self.files)
        form = self.published.forms.get(file.name.removesuffix(".gz"))
        old = new = (self.module.root / file).read_bytes()
        while new == old:  # not every file can have every damage
            kind = draw.choice([*(form or Table()).kinds, OTHER])
            if kind == OTHER:
                new = (self.module.root / draw.choice(self.files)).read_bytes()
            else:
                new = damaged(old, kind, draw, form.separator if form else ",")
        what = f"case {number}: {kind} of {file.name}"
        place = self.folder / "case"
        shutil.copytree(self.module.root, place / "raw")
        (place / "raw" / file).write_bytes(new)
        try:
            after = prepared(self.module, place / "raw", place / "prepared")
        except BaseException as error:
            problem = refusal(error)
            return ("traceback", f"{what}: {problem}") if problem else ("refused", f"{what}: {error}")
        finally:
            shutil.rmtree(place)
        return self.judged(what, form, old, new, after)

    def judged(self, what: str, form: object, old: bytes, new: bytes, after: Data) -> tuple[str, str]:
        """The verdict on data that were accepted."""
        before = self.before
        same = after.rows.equals(before.rows) and after.links.keys() == before.links.keys()
        if same and all(after.links[name].equals(before.links[name]) for name in before.links):
            return "identical", what
        if form is None:
            return "unknown", what
        problem = difference(self.published, form, old, new, before, after, self.module.root)  # type: ignore[arg-type]
        return ("meaning", f"{what}: {problem}") if problem else ("valid", what)


@pytest.mark.parametrize("source", [name for name in SOURCES if name != "Synthetic"])
def test_damage_is_refused_or_harmless(source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fixture = Fixture(SOURCES[source], tmp_path)
    each = max(1, CASES // len(SOURCES))
    verdicts, wrong = Counter[str](), []
    for number in range(FIRST, FIRST + each):
        verdict, what = fixture.case(number)
        verdicts[verdict] += 1
        if verdict in ("traceback", "meaning"):
            wrong.append(what)
    if "MTLZOO_FUZZ" in os.environ:
        with capsys.disabled():
            print(f"\n{source}: {dict(verdicts)}")
    assert not wrong, "\n\n".join(wrong)
    assert verdicts["refused"] or each < 10
