"""``mtlzoo export``: a trained model as a folder that answers raw rows, here and elsewhere."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from mtlzoo.checkpoint import load
from mtlzoo.cli.agreement import peek
from mtlzoo.cli.parser import Parser, import_class
from mtlzoo.cli.run_folder import folder_of, named_checkpoint, read_json
from mtlzoo.export.folder import write_folder
from mtlzoo.export.seen import warn_of_none


def run(args: Sequence[str]) -> None:
    """Writes the folder and says where it is."""
    parser = Parser(prog="mtlzoo export", description="Writes a trained model as a folder (docs/answers.md).")
    parser.add_argument("-c", "--config", type=str | None, help="config.yaml of the run.")
    parser.add_argument("--ckpt_path", type=str, default="best", help="best or last of the run, or a path.")
    parser.add_argument("--out", type=str, required=True, help="Folder: new, or of an earlier export.")
    parser.add_argument(
        "--formats", type=str, default="", help="Beside the weights: pt2,aoti,onnx,onnx-int8,triton,vectors."
    )
    options = parser.parse_args(list(args[1:]))
    checkpoint = _checkpoint(options.ckpt_path, options.config)
    if options.config is not None:
        _import_model(_config(options.config))
    model = load(checkpoint)
    known = {"encoding": model.encoding, "seen": model.seen, "config": model.run_config}
    if known["seen"] is None:
        warn_of_none(model, options.out)
    formats = [name.strip() for name in options.formats.split(",") if name.strip()]
    metrics = _tested(checkpoint)
    remarks = write_folder(Path(options.out), model, **known, metrics=metrics, formats=formats)
    for name, remark in remarks.items():
        print(f"{name}: {remark}")
    print(f"Exported: {options.out}")


def _checkpoint(wanted: str, config: str | None) -> Path:
    """The file that was asked for."""
    if wanted not in ("best", "last"):
        path = Path(wanted).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f"there is no checkpoint {path}. Give its path, or best or last with -c.")
        return path
    if config is None:
        raise ValueError(f"--ckpt_path {wanted} of which run? Give -c RUN/config.yaml, or the path of a checkpoint.")
    path = _config(config)
    return named_checkpoint(wanted, [path], path.parent, "")


def _config(given: str) -> Path:
    path = Path(given).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"there is no config {path}. Give the config.yaml of a run.")
    return path


def _import_model(config: Path) -> None:
    """Imports the class that the user's own config names, as every command does; a checkpoint's word is not enough."""
    try:
        path = yaml.safe_load(config.read_text(encoding="utf-8"))["model"]["class_path"]
    except (yaml.YAMLError, UnicodeDecodeError, LookupError, TypeError) as error:
        raise ValueError(f"{config} names no class of a model ({error!r}). Give the config.yaml of a run.") from error
    if "." not in str(path):
        return
    try:
        import_class(path)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{config}: its model {path} can't be imported ({error}). Put it on PYTHONPATH.") from error


def _tested(checkpoint: Path) -> dict[str, float]:
    """Metrics of the last test in the run, where it tested this checkpoint."""
    folder = folder_of(checkpoint)
    if folder is None or not (folder / "results.json").is_file():
        return {}
    results, saved = read_json(folder / "results.json"), peek(checkpoint)
    same = Path(str(results.get("checkpoint"))).name == checkpoint.name and results.get("step") == saved["global_step"]
    return dict(results["metrics"]) if same else {}
