"""YAML whose every value knows its line, so that what is wrong with one can be pointed at."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


class WrongFileError(ValueError):
    """What is wrong with a file, after its name and line."""

    def __init__(self, path: Path, line: int, message: str) -> None:
        super().__init__(f"{path}:{line}: {message}")


@dataclass(frozen=True)
class Lined:
    """A value of a YAML file.

    Args:
        value: A plain value; of mappings and lists the entries are `Lined`.
        line: Of its key, or of itself; from 1.
    """

    value: Any
    line: int

    @property
    def plain(self) -> Any:
        """The value without lines."""
        if isinstance(self.value, dict):
            return {key: entry.plain for key, entry in self.value.items()}
        if isinstance(self.value, list):
            return [entry.plain for entry in self.value]
        return self.value

    def flat(self, prefix: str = "") -> "Iterator[tuple[str, Lined]]":
        """Entries of nested mappings under dotted names."""
        for key, entry in self.value.items():
            if isinstance(entry.value, dict) and entry.value and "class_path" not in entry.value:
                yield from entry.flat(f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}", entry


def read_lines(path: Path) -> Lined:
    """Reads a YAML file.

    Raises:
        WrongFileError: It is no YAML, or a mapping names a key twice.
        OSError: It can't be read.
    """
    text = path.read_bytes()
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return Lined({}, 1)
        return _lined(path, loader, node, node.start_mark.line + 1)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise WrongFileError(path, mark.line + 1 if mark else 1, f"no YAML: {error.problem}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise WrongFileError(path, 1, f"no YAML: {error}.") from None


def _lined(path: Path, loader: yaml.SafeLoader, node: yaml.Node, line: int) -> Lined:
    if isinstance(node, yaml.SequenceNode):
        return Lined([_lined(path, loader, item, item.start_mark.line + 1) for item in node.value], line)
    if not isinstance(node, yaml.MappingNode):
        return Lined(loader.construct_object(node), line)
    seen: dict[str, int] = {}
    for key_node, _ in node.value:
        key, place = str(key_node.value), key_node.start_mark.line + 1
        if key in seen:
            raise WrongFileError(path, place, f"{key!r} stands twice, first in line {seen[key]}. Keep one.")
        seen[key] = place
    loader.flatten_mapping(node)  # of `<<: *anchor`; entries of their own come last
    entries = {}
    for key_node, value_node in node.value:
        place = key_node.start_mark.line + 1
        entries[str(loader.construct_object(key_node))] = _lined(path, loader, value_node, place)
    return Lined(entries, line)
