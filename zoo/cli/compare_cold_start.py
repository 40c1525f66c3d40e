"""``mtlzoo compare-cold-start``: what `ColdStartReport` found in several runs, side by side."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ActionConfigFile  # type: ignore[attr-defined]  # public, but not in __all__

from mtlzoo.analysis.cold_start import Row, side_by_side
from mtlzoo.analysis.cold_start_table import log, publish, read_report
from mtlzoo.cli.parser import Parser
from mtlzoo.cli.run_folder import read_json


def run(args: Sequence[str]) -> None:
    """Reads the runs' reports and writes ``compare_cold_start.csv`` and ``compare_cold_start.png``."""
    parser = Parser(
        prog="mtlzoo compare-cold-start",
        description="Puts the cold-start reports of tested runs side by side; seeds of one model are averaged.",
    )
    parser.add_argument("-c", "--config", action=ActionConfigFile, help="These options in a file.")
    parser.add_argument("--runs", type=list[Path], required=True, help="Run folders, tested with ColdStartReport.")
    parser.add_argument("--out", type=Path, default=Path("cold_start"), help="Folder of table and picture.")
    parser.add_argument("--wandb", type=str | None, help="W&B project that gets table and picture, too.")
    options = parser.parse_args(list(args[1:]))
    reports = {folder: read_report(folder) for folder in options.runs}
    every = {row["task"] for report in reports.values() for row in report}
    by_name: dict[str, list[list[Row]]] = {}
    for folder, report in reports.items():
        by_name.setdefault(name_of(folder, report, every), []).append(report)
    table = side_by_side(by_name)
    figure = publish(table, options.out.resolve(), "compare_cold_start")
    print(f"Written: {options.out}")
    if options.wandb:
        import wandb

        with wandb.init(project=options.wandb, dir=options.out, job_type="compare-cold-start") as logged:
            log(logged, table, figure)


def name_of(folder: Path, report: Sequence[Row], every: set[str]) -> str:
    """Model, rule where there is one, and the tasks where others have more."""
    path = folder / "results.json"
    record = read_json(path) if path.is_file() else {"model": folder.parent.name, "rule": "sum"}
    tasks = dict.fromkeys(row["task"] for row in report)
    rule = "" if record["rule"] == "sum" else f" {record['rule']}"
    return f"{record['model']}{rule}" + (f" ({', '.join(tasks)})" if set(tasks) != every else "")
