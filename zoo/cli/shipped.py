"""Configs that came with the package."""

from importlib.resources import files
from pathlib import Path


def shipped(word: str) -> str:
    """``configs/....yaml`` means the file that came with the package where the working folder has none of that name."""
    option, equals, value = word.rpartition("=")
    if not value.startswith("configs/") or Path(value).exists():
        return word
    found = Path(str(files("mtlzoo.configs"))) / value.removeprefix("configs/")
    return f"{option}{equals}{found}" if found.is_file() else word
