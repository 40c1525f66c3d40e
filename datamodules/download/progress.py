"""A progress bar with rate, elapsed time and, where the end is known, time left."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

_console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)


def say(message: str) -> None:
    """Prints one line to stderr."""
    _console.print(message)


class _Amount(ProgressColumn):
    def render(self, task: Task) -> Text:
        end = f" / {task.total:,.0f}" if task.total else ""
        return Text(f"{task.completed:,.0f}{end} {task.fields['unit']}")


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} {task.fields['unit']}/s" if speed else "")


class _Left(ProgressColumn):
    def render(self, task: Task) -> Text:
        seconds = task.time_remaining
        return Text("" if seconds is None else f"{timedelta(seconds=round(seconds))} left")


@contextmanager
def progress(
    description: str, total: int | None = None, *, done: int = 0, unit: str = "rows"
) -> Iterator[Callable[[int], object]]:
    """Draws a bar on a terminal's stderr, nothing elsewhere.

    Args:
        description: What is going on.
        total: Where it ends, if that is known.
        done: Where it starts.
        unit: What is counted.

    Yields:
        A function to call with every amount done.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), _Amount(), _Rate(), TimeElapsedColumn(), _Left())
    with Progress(*columns, console=_console, transient=True, disable=not _console.is_terminal) as bar:
        task = bar.add_task(description, total=total, completed=done, unit=unit)
        yield lambda amount: bar.advance(task, amount)
