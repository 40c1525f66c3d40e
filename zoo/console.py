"""The screen that tables are printed on."""

import sys

from rich.console import Console


def wide_console() -> Console:
    """The screen; where there is none, lines long enough for every column."""
    return Console() if sys.stdout.isatty() else Console(width=200, no_color=True)
