"""Errors that are the user's to mend end a command with one line; bugs show where they arose."""

import errno
import sys
from pathlib import Path

import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from mtlzoo.cli import main, prepare, refusals
from mtlzoo.datamodules.errors import DataError, DatasetNotFoundError
from mtlzoo.layers import demand


def test_wrong_data_end_the_command_with_a_message_and_raise_in_python(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fit", "--model", "MMoE", "--data", "KuaiRand", "--data.root", str(tmp_path), "--data.download", "false"]
    with pytest.raises(DatasetNotFoundError, match="log_standard"):
        main(words)
    monkeypatch.setattr(sys, "argv", ["mtlzoo", *words])
    with pytest.raises(SystemExit, match=r"^2$"):
        main()
    assert "mtlzoo fit: error: KuaiRand: no log_standard" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["mtlzoo", "prepare", *words[3:]])
    with pytest.raises(SystemExit, match=r"^2$"):
        main()
    assert "mtlzoo prepare: error: KuaiRand: no log_standard" in capsys.readouterr().err


def given_on_the_command_line(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> None:
    """Has `prepare` end with an error that its caller, this module, raised or, with None, made by mistake."""

    def run(args: list[str]) -> None:
        if error is not None:
            raise error
        _ = [][1]

    monkeypatch.setattr(prepare, "run", run)
    monkeypatch.setattr(sys, "argv", ["mtlzoo", "prepare"])
    monkeypatch.setattr(refusals, "RAISERS", (__name__.partition(".")[0],))
    main()


@pytest.mark.parametrize(
    ("error", "said", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "run/last.ckpt"), "run/last.ckpt: No space left", 2),
        (PermissionError(errno.EACCES, "Permission denied", "a"), "a: Permission denied.", 2),
        (DataError("row 3"), "row 3", 2),
        (ValueError("lr=-1; allowed are"), "lr=-1; allowed are", 2),
        (MisconfigurationException("No supported gpu backend"), "No supported gpu backend", 2),
        (FloatingPointError("The loss is not finite"), "The loss is not finite", 1),
    ],
)
def test_errors_of_the_user_are_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, said: str, code: int
) -> None:
    with pytest.raises(SystemExit, match=f"^{code}$"):
        given_on_the_command_line(monkeypatch, error)
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("error", [None, AssertionError(), KeyError("name"), AttributeError("x")])
def test_bugs_show_where_they_arose(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> None:
    with pytest.raises(type(error) if error else IndexError):
        given_on_the_command_line(monkeypatch, error)


def test_an_error_that_a_library_raises_within_our_code_is_a_bug() -> None:
    with pytest.raises(ValueError, match="reshape") as failed:
        torch.zeros(3).numpy().reshape(2, 2)
    assert not refusals.mendable(failed.value)


def test_labels_that_are_no_funnel_are_the_users_to_mend() -> None:
    with pytest.raises(RuntimeError, match="ESMM: a row") as failed:
        demand(torch.tensor([False]), "ESMM: a row of this batch")
    assert refusals.mendable(failed.value)
