"""``mtlzoo export``: which checkpoint, of whose class, and what it refuses; tests/zoo/export has what is written."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import mtlzoo
from mtlzoo.cli import main


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ckpt_path", "best"], "best of which run"),
        (["--ckpt_path", "none.ckpt"], "there is no checkpoint none.ckpt"),
        (["-c", "none.yaml"], "there is no config none.yaml"),
    ],
)
@pytest.mark.every_case
def test_a_checkpoint_that_is_not_there(words: list[str], said: str) -> None:
    with pytest.raises((ValueError, OSError), match=said):
        main(["export", *words, "--out", "out"])


def test_a_command_without_a_folder_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["export", "-c", "config.yaml"])
    assert capsys.readouterr().err == "mtlzoo export: error: --out is required.\n"


def test_a_checkpoint_whose_encoding_is_gone_is_not_exported(answering: SimpleNamespace, tmp_path: Path) -> None:
    """It could not answer."""
    shutil.copy(answering.checkpoint, tmp_path / "alone.ckpt")
    saved = torch.load(tmp_path / "alone.ckpt", weights_only=True)
    saved["mtlzoo_data"]["folder"] = str(tmp_path / "away")
    torch.save(saved, tmp_path / "alone.ckpt")
    with pytest.raises(FileNotFoundError, match=r"alone\.ckpt: no encoding\.json in .*away"):
        main(["export", "--ckpt_path", str(tmp_path / "alone.ckpt"), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_a_model_of_ones_own_is_imported_by_the_config_of_its_run(
    answering: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And never because a checkpoint names it."""
    shutil.copytree(answering.run, run := tmp_path / "version_0")
    saved = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    saved["mtlzoo"] |= {"module": "ones_own_model", "class": "Mine"}
    torch.save(saved, run / "checkpoints/best.ckpt")
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("mtlzoo.MMoE", "ones_own_model.Mine"))
    best = ["export", "-c", str(run / "config.yaml"), "--ckpt_path", "best", "--out", str(tmp_path / "out")]
    with pytest.raises(ValueError, match=r"its model ones_own_model\.Mine can't be imported"):
        main(best)
    (tmp_path / "odd.yaml").write_text("model: MMoE\n")
    given = ["--ckpt_path", str(run / "checkpoints/best.ckpt"), "--out", str(tmp_path / "out")]
    with pytest.raises(ValueError, match=r"odd\.yaml names no class of a model \(TypeError.*config\.yaml of a run"):
        main(["export", "-c", str(tmp_path / "odd.yaml"), *given])
    with pytest.raises(FileNotFoundError, match=r"there is no config .*none\.yaml\. Give the config\.yaml of a run"):
        main(["export", "-c", str(tmp_path / "none.yaml"), *given])
    (tmp_path / "ones_own_model.py").write_text("import mtlzoo\n\n\nclass Mine(mtlzoo.MMoE):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"none that this process has imported.*-c RUN/config\.yaml"):
        main(["export", *given])
    main(best)
    assert type(mtlzoo.load(tmp_path / "out")).__name__ == "Mine"
