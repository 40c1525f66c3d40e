"""Every command in docs/cli.md and docs/wandb.md is understood."""

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[3] / "docs"
PAGE = (DOCS / "cli.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
LINES = [line for block in BLOCKS for line in block.splitlines() if line and not line.startswith("#")]
COMMANDS = [line for line in LINES if not line.startswith("mtlzoo export")]  # tests/zoo/export/test_page.py runs it
WANDB = re.findall(r"^(?:WANDB_MODE=\w+ )?mtlzoo .+$", (DOCS / "wandb.md").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("command", [*COMMANDS, *WANDB])
def test_is_understood(command: str, trained: Path, run: Callable[..., str]) -> None:
    """Parsed to the end, with all values checked; nothing is trained."""
    for folder in (Path("runs/KuaiRand-MMoE-s0/version_0"), Path("runs/clicks-MMoE-s0/version_0")):
        folder.mkdir(parents=True)
        shutil.copy(trained / "config.yaml", folder)
    words = [word for word in shlex.split(command) if not re.match(r"[A-Z_]+=", word)]
    assert words[0] == "mtlzoo"
    printed = run(*words[1:], "--print_config", code=0)
    shown = {"compare-samples": "runs:", "compare-cold-start": "runs:", "dashboard": "tasks:"}
    assert shown.get(words[1], "class_path: mtlzoo") in printed


def test_the_page_has_commands() -> None:
    assert len(COMMANDS) > 12
    assert len(WANDB) > 4
    assert all(f"mtlzoo {name} " in "\n".join(COMMANDS) for name in ("fit", "test", "predict", "prepare"))
