"""Values of columns that more than one data set has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SPELT = ["0x1", "one", "nan"]
"""Some of what int() or polars may take for a number and no publisher writes; reading/test_spelling.py has more."""


@dataclass(frozen=True)
class Values:
    """Texts that a column may hold with what is read, None where it is missing, and texts that it may not hold."""

    good: Mapping[str, Any]
    bad: Sequence[str]


ID = Values({"0": 0, "123456": 123456}, ["", "-1", "-124", "1.5", "1.0", "1e3", *SPELT])
FLAG = Values({"0": 0, "1": 1}, ["", "2", "-1", "0.5", "1.0", "true", "yes", *SPELT])
CODE = Values({"": None, "-124": -124, "7": 7, "7.0": 7}, ["-1", "-125", "1.5", "1e30", *SPELT])
COUNT = Values({"": None, "0": 0, "7.0": 7}, ["-1", "-124", "1e39", *SPELT])
NAME = Values({"": None, "anything": "anything"}, [])
