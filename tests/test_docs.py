"""The tables of rules in docs/surgery.md are the code, and its commands run."""

import re
import shlex
from pathlib import Path

import pytest
import torch
import yaml

from mtlzoo.callbacks import rules
from mtlzoo.cli import main

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = (REPOSITORY / "docs/surgery.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| \[`(\w+)`\]\((\S+)\) \| .+? \| (.+?) \| (.+?) \| (.*?) ?\|$", PAGE, re.MULTILINE)
COMMANDS = re.findall(r"^mtlzoo (.+)$", PAGE, re.MULTILINE)
ARGUMENTS = {"Fixed": {"weights": [1.0, 1.0]}, "FixedWeights": {"weights": [1.0, 1.0]}}
SAME = {"Equal": "Sum"}
"""Second names of one idea, beside which they are named."""


def test_every_rule_is_in_the_tables_once() -> None:
    bases = {"GramianRule", "GradientRule", "LossRule"}
    assert sorted(row[0] for row in ROWS) == sorted(set(rules.__all__) - bases - set(SAME))
    for other, name in SAME.items():
        assert re.search(rf"^\| \[`{name}`\].*`{other}`", PAGE, re.MULTILINE)
        assert getattr(rules, other)()(torch.ones(3)).equal(getattr(rules, name)()(torch.eye(3)))
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    section = readme.split("\n## Gradient surgery\n")[1].split("\n## ")[0]
    assert {row[0] for row in ROWS} <= set(re.findall(r"`(\w+)`", section))


@pytest.mark.parametrize(("name", "config", "needs", "state", "source"), ROWS, ids=[row[0] for row in ROWS])
def test_a_row_of_the_tables_is_the_code(name: str, config: str, needs: str, state: str, source: str) -> None:
    rule = getattr(rules, name)(**ARGUMENTS.get(name, {}))
    parts = yaml.safe_load((REPOSITORY / "docs" / config).read_text())["trainer"]["callbacks+"]
    assert parts["init_args"]["rule"]["class_path"] == f"mtlzoo.callbacks.{name}"
    if isinstance(rule, rules.LossRule):
        found = "losses, twice" if rule.needs_losses_after_step else "losses"
    elif isinstance(rule, rules.GradientRule):
        found = "gradients, losses" if rule.needs_losses else "gradients"
    else:
        found = "Gramian, losses" if rule.needs_losses else "Gramian"
    assert needs == found
    assert (state == "none") == (not rule.state_dict())
    said = " ".join((rule.__doc__ or "").split())
    assert all(part in said for part in source.rsplit(", ", 1))


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_understood(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(command)
    words += [] if ".help" in command else ["--print_config"]
    with pytest.raises(SystemExit, match=r"^0$"):
        main(words)
    assert "rule" in capsys.readouterr().out
