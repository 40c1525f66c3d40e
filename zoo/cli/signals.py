"""What SIGTERM, SIGHUP and Ctrl-C do to a command; imports nothing heavy, so that it works from the first moment on."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that ask a command to end."""


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

    @contextmanager
    def heard(self, *, ends: bool = False) -> Iterator[None]:
        """Takes over the signals, but for those that are ignored (as ``nohup`` has it).

        Args:
            ends: Whether the process ends afterwards. Then one that comes while it does changes its status no more.
        """
        self.came, self.wait, self._ends = None, False, ends
        before = {}
        if threading.current_thread() is threading.main_thread():
            before = {number: signal.getsignal(number) for number in ENDING}
            self.listen()
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

    @contextmanager
    def importing(self) -> Iterator[None]:
        """Signals end the process without an exception: libraries swallow those in imports, and stay half made."""
        before, self._importing = self._importing, self._ends
        try:
            yield
        finally:
            self._importing = before

    def listen(self) -> None:
        """Takes over the signals again: Lightning puts its own handler in front while it runs."""
        if threading.current_thread() is threading.main_thread():
            for number in ENDING:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    signal.signal(number, self._hear)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.came is not None:
            return  # it is ending already
        self.came = number
        if self._importing:
            sys.stderr.write(f"mtlzoo: ended by {signal.Signals(number).name}. {NOTHING}\n")
            sys.stderr.flush()
            os._exit(status(number))
        if not self.wait:
            raise Stopped(number)
        sys.stderr.write(f"\n{signal.Signals(number).name}: the training ends after this batch.\n")


REQUESTS = Requests()
"""Of this process."""
