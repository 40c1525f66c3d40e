"""Which errors are the user's to mend, and are told in a line; all others show where they arose."""

import dis
from types import FrameType

from lightning.fabric.utilities.exceptions import MisconfigurationException

from mtlzoo.datamodules.errors import DataError, DatasetNotFoundError

RAISERS = ("mtlzoo", "lightning", "jsonargparse")
"""Packages whose ``raise`` says something to the user."""
RAISED = (ValueError, TypeError, RuntimeError, ArithmeticError, ImportError, OSError, MisconfigurationException)
"""What constructors raise at a value that they can't take."""


def mendable(error: BaseException) -> bool:
    """Whether an error says what the user gave and can change: of data, of the system, or raised on purpose.

    One that Python itself or a library raised in the middle of our code is a bug, and worth its traceback.
    """
    if isinstance(error, DataError | DatasetNotFoundError | OSError):
        return True
    frame, instruction = _frames(error)[-1]
    package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    on_purpose = frame.f_code.co_code[instruction] == dis.opmap["RAISE_VARARGS"]
    return isinstance(error, RAISED) and package in RAISERS and on_purpose


def prepares(error: BaseException) -> bool:
    """Whether an error arose while data were prepared, where more is at work than options."""
    return any(frame.f_code.co_name in ("prepare_data", "_prepare", "new_rows") for frame, _ in _frames(error))


def told(error: BaseException) -> str:
    """What an error says, with the file that one of the system is about."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
    if isinstance(error, KeyError) or not str(error):
        return repr(error)
    return str(error)


def _frames(error: BaseException) -> list[tuple[FrameType, int]]:
    """From the outermost to where it arose, with the place of the instruction."""
    found, traceback = [], error.__traceback__
    while traceback is not None:
        found.append((traceback.tb_frame, traceback.tb_lasti))
        traceback = traceback.tb_next
    return found
