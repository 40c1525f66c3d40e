"""Who gains from learning tasks together: comparable samples of KuaiRand-Pure, three seeds of each model.

    python benchmarks/comparable_samples.py --runs RUNS

RUNS are those of models.py with three tasks: for each model the tested runs, which are those of its best learning rate.
`mtlzoo compare-samples` compares them with `SingleTask`, click against like and click against long view.

Result: benchmarks/results/comparable_samples.json; pictures.py draws it for docs/comparable_samples.md.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from report import show, write

MODELS = ("SharedBottom", "OMoE", "MMoE", "PLE", "STEMNet")
OTHERS = ("is_like", "long_view")


def tested(runs: Path, model: str) -> str:
    """The tested runs of a model, as a list of the command line."""
    found = sorted(path.parent for path in (runs / "kuairand_3" / model).glob("*/*/version_*/results.json"))
    if len(found) < 3:
        raise SystemExit(f"{runs}: {len(found)} tested runs of {model}; run benchmarks/models.py --sets kuairand_3.")
    return ", ".join(map(str, found))


def compared(runs: Path, other: str) -> dict[str, Any]:
    """What `mtlzoo compare-samples` finds for click and another task."""
    with TemporaryDirectory() as folder:
        models = ", ".join(tested(runs, model) for model in MODELS)
        options = ["--runs", f"[{models}]", "--single", f"[{tested(runs, 'SingleTask')}]", "--out", folder]
        command = [sys.executable, "-m", "mtlzoo", "compare-samples", *options, "--tasks", f"[is_click, {other}]"]
        subprocess.run(command, check=True)
        found: dict[str, Any] = json.loads((Path(folder) / "transfer.json").read_text())
    for name in ("runs", "single"):
        found["options"][name] = [str(Path(each).relative_to(runs)) for each in found["options"][name]]
    for row in found["rows"]:
        row.update({name: round(value, 5) for name, value in row.items() if isinstance(value, float)})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=Path, required=True, help="Folder of the runs of models.py.")
    runs = parser.parse_args().runs.resolve()
    rows = []
    for other in OTHERS:
        rows.append(compared(runs, other))
        show(other, [row for row in rows[-1]["rows"] if row["metric"] == "auc"])
    write("comparable_samples", {"models": MODELS, "against": OTHERS}, rows)


if __name__ == "__main__":
    main()
