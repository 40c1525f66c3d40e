"""What docs/answers.md says is tried as written."""

import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

from fixtures import tabular
from fixtures.lastfm import write_lastfm
from mtlzoo.cli import main

REPOSITORY = Path(__file__).parents[3]
PAGE = (REPOSITORY / "docs/answers.md").read_text(encoding="utf-8")
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SHORT = ["--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"]


@pytest.mark.slow
def test_every_block_runs(tmp_path: Path) -> None:
    """In the order of the page."""
    tabular.write_table(tmp_path / "data/clicks")
    write_lastfm(tmp_path / "data/lastfm")
    ((path, described),) = re.findall(r"^```yaml (\S+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    (tmp_path / path).write_text(described)
    tabular.clicks(20, seed=1).drop("click", "rating", "kind").write_parquet(tmp_path / "data/new.parquet")
    names: dict[str, object] = {}
    for language, text in BLOCKS:
        if language == "python":
            if "import faiss" in text and find_spec("faiss") is None:
                continue
            exec(compile(text, "answers.md", "exec"), names)
            continue
        for command in text.splitlines():
            words = shlex.split(command)
            if words[0] in ("pip", "python"):
                continue  # tests/zoo/serving does what they say
            main([*words[1:], *(SHORT if words[1] == "fit" else [])])
    assert {language for language, _ in BLOCKS} == {"bash", "python"}
    assert (tmp_path / "exported/card.md").is_file()
    assert len(names["shown"]) == 50 * 20  # type: ignore[arg-type]
    assert len(names["answers"]) == 20  # type: ignore[arg-type]
