"""What SIGTERM, SIGHUP and Ctrl-C do to a command; imports nothing heavy, so that it works from the first moment on.

Of several processes the first decides. One that Lightning started beside it passes a signal on and goes on itself,
until they agree to stop or the first ends it by `END`: if it ended by itself, the first would wait for it for ever.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that ask a command to end."""
END = signal.SIGUSR1
"""Ends a process that Lightning started; the first sends it when it ends and there is nothing to save."""
FIRST = "MTLZOO_FIRST_PROCESS"
"""Variable of the environment by which that process knows the first one, which is its parent."""
NOTHING = "It has no result; what was written before is as it was."
"""What a command says that a signal ended before it had one."""


def status(number: int) -> int:
    """Exit status after a signal: 128 + its number (143 for SIGTERM, 130 for Ctrl-C).

    Processes that Lightning started beside the first exit with 0: it would kill the others for any other status, while
    they may still write.
    """
    return 0 if int(os.environ.get("LOCAL_RANK") or 0) else 128 + number


class Stopped(SystemExit):
    """A signal ended the command, with `status`.

    Args:
        number: Of the signal.
        message: What was saved and how to go on; None says that there is no result.
    """

    def __init__(self, number: int, message: str | None = None) -> None:
        super().__init__(status(number))
        self.name = signal.Signals(number).name
        self.message = message


class Requests:
    """Signals that came; at once they end the command, or, while `wait` is set, when the training asks for them."""

    def __init__(self) -> None:
        self.came: int | None = None
        """Number of the first signal."""
        self.wait = False
        """Whether somebody looks at `came` at the next good moment."""
        self._ends = self._importing = False
        self._first: int | None = None

    @contextmanager
    def heard(self, *, ends: bool = False) -> Iterator[None]:
        """Takes over the signals, but for those that are ignored (as ``nohup`` has it).

        Args:
            ends: Whether the process ends afterwards. Then one that comes while it does changes its status no more.
        """
        self.came, self.wait, self._ends, self._first = None, False, ends, None
        parent = os.environ.get(FIRST)
        before = self._take_over() if threading.current_thread() is threading.main_thread() else {}
        try:
            yield
            if self.came is not None:  # too late to change anything
                raise Stopped(self.came, "Everything was done before.")
        except KeyboardInterrupt:  # polars takes Ctrl-C over while it works
            raise Stopped(signal.SIGINT) from None
        finally:
            over = ends and self.came is not None
            for number, handler in before.items():
                signal.signal(number, signal.SIG_IGN if over else handler)
            os.environ.pop(FIRST, None)
            os.environ.update({FIRST: parent} if parent else {})

    def _take_over(self) -> dict[signal.Signals, Any]:
        """Sets the handlers, and returns those before."""
        before = {number: signal.getsignal(number) for number in (*ENDING, END)}
        for number in ENDING:
            if before[number] not in (signal.SIG_IGN, None):
                signal.signal(number, self._hear)
        if int(os.environ.get("LOCAL_RANK") or 0) and os.environ.get(FIRST) == str(os.getppid()):
            self._first = os.getppid()
            signal.signal(END, self._end)
        os.environ[FIRST] = str(os.getpid())
        return before

    @contextmanager
    def importing(self) -> Iterator[None]:
        """Signals end the process without an exception: libraries swallow those in imports, and stay half made."""
        before, self._importing = self._importing, self._ends
        try:
            yield
        finally:
            self._importing = before

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.came is not None:
            return  # it is ending already
        self.came = number
        if self._first is not None and self._first == os.getppid():  # which lives
            os.kill(self._first, number)
        elif self.wait:
            sys.stderr.write(f"\n{signal.Signals(number).name}: the training ends after this batch.\n")
        else:
            self._end(number, frame)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self.came = number
        if self._importing:
            if status(number):
                sys.stderr.write(f"mtlzoo: ended by {signal.Signals(number).name}. {NOTHING}\n")
                sys.stderr.flush()
            os._exit(status(number))
        raise Stopped(number)


REQUESTS = Requests()
"""Of this process."""
