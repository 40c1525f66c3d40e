"""The file of a comparison: read and checked entry by entry."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from mtlzoo.callbacks import rules
from mtlzoo.compare.comparison import Comparison, Part, simplex
from mtlzoo.compare.lines import Lined, WrongFileError, read_lines
from mtlzoo.compare.options import Option, options_of, text_of
from mtlzoo.options import did_you_mean

SECTIONS = ("data", "models", "rules", "seeds", "common", "tune", "baseline", "frontier")
"""What a file may hold; `data` and `models` it must."""
OURS = ("seed_everything", "trainer.default_root_dir", "ckpt_path", "model", "data")
"""Options that the comparison itself sets."""


def read_comparison(path: Path) -> Comparison:
    """Reads a file.

    Raises:
        WrongFileError: With the line, what was found, what is allowed.
        OSError: It can't be read.
    """
    file = read_lines(path)
    check = _Checks(path)
    sections = check.mapping(file, SECTIONS, "a comparison")
    for name in ("data", "models"):
        if name not in sections:
            raise WrongFileError(path, file.line, f"{name} is missing: at least one of them is compared.")
    models = check.parts(sections["models"], "model")
    grid, tuning_seeds = check.tune(sections.get("tune"))
    seeds = check.seeds(sections.get("seeds", Lined([Lined(0, 0)], 0)))
    return Comparison(
        path,
        check.parts(sections["data"], "data"),
        models,
        check.rules(sections.get("rules", Lined([Lined(None, 0)], 0))),
        seeds,
        check.common(sections.get("common", Lined({}, 0))),
        grid,
        tuning_seeds or seeds[:1],
        check.baseline(sections.get("baseline", Lined("SingleTask", 0)), models),
        check.frontier(sections.get("frontier")),
        sections["frontier"].line if "frontier" in sections else 0,
    )


@dataclass(frozen=True)
class _Checks:
    path: Path

    def wrong(self, entry: Lined, message: str) -> WrongFileError:
        return WrongFileError(self.path, entry.line, message)

    def mapping(self, entry: Lined, allowed: Iterable[str], what: str) -> dict[str, Lined]:
        if not isinstance(entry.value, dict):
            raise self.wrong(entry, f"{what} is {entry.plain!r}; allowed is a mapping of {', '.join(allowed)}.")
        for name, value in entry.value.items():
            if name not in allowed:
                hint = did_you_mean(name, allowed)
                raise self.wrong(value, f"{name!r} is unknown in {what}; allowed are {', '.join(allowed)}.{hint}")
        return entry.value

    def several(self, entry: Lined, what: str) -> list[Lined]:
        found = entry.value if isinstance(entry.value, list) else [entry]
        if not found:
            raise self.wrong(entry, f"{what} is empty; give at least one.")
        return found

    def parts(self, entry: Lined, kind: str) -> tuple[Part, ...]:
        found = [self.part(item, kind) for item in self.several(entry, kind)]
        self.differ(found)
        return tuple(found)

    def differ(self, found: list[Part]) -> None:
        lines: dict[str, int] = {}
        for part in found:
            if part.name in lines:
                same = f"{part.name!r} stands twice, first in line {lines[part.name]}."
                raise WrongFileError(
                    self.path, part.line, f"{same} Give each a name: {{name: ..., config: {part.name}}}."
                )
            lines[part.name] = part.line

    def part(self, entry: Lined, kind: str) -> Part:
        config, name, overrides = entry, None, Lined({}, entry.line)
        if isinstance(entry.value, dict):
            given = self.mapping(entry, ("name", "config", "overrides"), f"an entry of {kind}")
            if not given.keys() & {"name", "config"}:
                raise self.wrong(entry, f"an entry of {kind} has no name; give {{name: ..., config: ...}}.")
            config = given.get("config") or given["name"]
            name = given["name"].plain if "name" in given else None
            overrides = given.get("overrides", overrides)
        for text in (config.plain, name or config.plain):
            if not isinstance(text, str) or not text:
                raise self.wrong(config, f"{text!r} in {kind}; allowed are names of classes and paths of configs.")
        if not isinstance(overrides.value, dict):
            raise self.wrong(overrides, f"overrides are {overrides.plain!r}; allowed is a mapping of options.")
        first = self.rule_options(config) if kind == "rule" else (Option(kind, config.value, config.line),)
        more = options_of(overrides, "trainer.callbacks." if kind == "rule" else f"{kind}.")
        return Part(name or _stem(config.value), (*first, *more), entry.line)

    def rules(self, entry: Lined) -> tuple[Part | None, ...]:
        found = [None if item.value is None else self.part(item, "rule") for item in self.several(entry, "rules")]
        self.differ([part for part in found if part])
        if found.count(None) > 1:
            raise self.wrong(entry, "null stands twice in rules. Keep one.")
        return tuple(found)

    def rule_options(self, entry: Lined) -> tuple[Option, ...]:
        if entry.value.endswith((".yaml", ".yml")):
            return (Option("config", entry.value, entry.line),)
        rule = getattr(rules, entry.value, None)
        if "." not in entry.value and not isinstance(rule, type):
            hint = did_you_mean(entry.value, rules.__all__)
            raise self.wrong(entry, f"{entry.value!r} is no rule; see mtlzoo.callbacks.rules.{hint}")
        losses = isinstance(rule, type) and issubclass(rule, rules.LossRule)
        callback = "LossBalancing" if losses else "GradientSurgery"
        return (
            Option("trainer.callbacks+", callback, entry.line),
            Option("trainer.callbacks.rule", entry.value, entry.line),
        )

    def seeds(self, entry: Lined) -> tuple[int, ...]:
        found = self.several(entry, "seeds")
        for item in found:
            if type(item.value) is not int or item.value < 0:
                raise self.wrong(item, f"seed {item.plain!r}; allowed are whole numbers >= 0.")
        numbers = tuple(item.value for item in found)
        if len(set(numbers)) < len(numbers):
            raise self.wrong(entry, f"seeds {list(numbers)}; each may stand once.")
        return numbers

    def common(self, entry: Lined) -> tuple[Option, ...]:
        if not isinstance(entry.value, dict):
            raise self.wrong(entry, f"common is {entry.plain!r}; allowed is a mapping of options.")
        configs = self.several(entry.value["config"], "config") if "config" in entry.value else []
        others = Lined({name: item for name, item in entry.value.items() if name != "config"}, entry.line)
        options = options_of(others, "")
        for option in options:
            if option.name in OURS:
                raise WrongFileError(self.path, option.line, f"{option.name} is set by the comparison; leave it out.")
        return (*(Option("config", text_of(item.plain), item.line) for item in configs), *options)

    def tune(self, entry: Lined | None) -> tuple[tuple[tuple[Option, ...], ...], tuple[int, ...]]:
        if entry is None:
            return ((),), ()
        given = self.mapping(entry, ("grid", "seeds"), "tune")
        if "grid" not in given or not isinstance(given["grid"].value, dict) or not given["grid"].value:
            raise self.wrong(entry, "tune has no grid; give {grid: {model.lr: [0.001, 0.002]}}.")
        axes = []
        for name, item in given["grid"].flat():
            values = self.several(item, f"grid of {name}")
            axes.append([Option(name, text_of(value.plain), value.line) for value in values])
        return tuple(product(*axes)), self.seeds(given["seeds"]) if "seeds" in given else ()

    def baseline(self, entry: Lined, models: tuple[Part, ...]) -> Part | None:
        if entry.value is None:
            return None
        named = next((part for part in models if part.name == entry.plain), None)
        return named or self.part(entry, "model")

    def frontier(self, entry: Lined | None) -> tuple[Mapping[str, float], ...]:
        if entry is None:
            return ()
        given = self.mapping(entry, ("tasks", "weights"), "frontier")
        tasks = given["tasks"].plain if "tasks" in given else None
        points = given["weights"].plain if "weights" in given else 9
        if not isinstance(tasks, list) or len(set(tasks)) < 2 or len(set(tasks)) < len(tasks):
            raise self.wrong(entry, f"frontier: tasks {tasks!r}; give at least two names.")
        if type(points) is not int or not 1 <= points <= 99:
            raise self.wrong(given["weights"], f"frontier: weights {points!r}; allowed are whole numbers from 1 to 99.")
        if points < len(tasks) - 1:
            raise self.wrong(given["weights"], f"{points} steps are too few for {len(tasks)} tasks.")
        return simplex(tasks, points)


def _stem(config: str) -> str:
    """Of a config its name, of a class the last part of its path."""
    return Path(config).stem if config.endswith((".yaml", ".yml")) else config.rpartition(".")[2]
