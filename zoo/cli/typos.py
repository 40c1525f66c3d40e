"""Misspelt names, told by the nearest that there is."""

import difflib
import re
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path

_NEAR = 0.75


def refuse_typos(words: Sequence[str]) -> None:
    """Refuses a misspelt name of a model or data set as the parser does, before torch is imported, which takes seconds.

    What else may be wrong is left to the parser.

    Args:
        words: A command that takes a model or data set, and what follows it.

    Raises:
        SystemExit: 2, with a message.
    """
    if "torch" in sys.modules or {"-h", "--help"} & set(words):
        return  # there may be classes of somebody else
    names = {"--model": import_module("mtlzoo").MODELS, "--data": import_module("mtlzoo.datamodules").DATA_SETS}
    for word, following in zip(words, [*words[1:], ""], strict=True):
        option, equals, value = word.partition("=")
        value = value if equals else following
        known = names.get(option, {})
        near = difflib.get_close_matches(value, known, 1, cutoff=_NEAR)
        # PMTRecRule is no PMTRec: the parser knows what it is.
        typo = near and not value.startswith(near[0]) and re.fullmatch(r"\w+", value)
        if typo and not Path(value).exists():
            sys.stderr.write(
                f"mtlzoo {words[0]}: error: {hint(f'{option}: no class or file {value!r}', value, known)}\n"
            )
            raise SystemExit(2)


def hint(text: str, word: str, known: Iterable[str]) -> str:
    """The text, with the name that the word may mean and all that are known."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, 1, cutoff=0.5)
    return text + (f". Did you mean {near[0]!r}?" if near else ".") + f" Known are {', '.join(names)}."
