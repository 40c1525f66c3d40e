"""A column of a file whose first row is changed, and what is refused wherever there are ids, stars or times."""

from typing import Any

Case = tuple[str, str, Any, str, list[tuple[Any, Any]], list[Any]]
"""A fixture, its file, the column, its name in the rows; values with what they are read as; what is refused."""

SPELT = ["0x1", "1_000", "+1", " 1", "1 ", "1e0", "\uff11", "nan", "inf", "1.0", "true"]
"""What some parsers take for a whole number."""
NO_ID = ["0", "-1", "1.5", "2147483648", "", "user", *SPELT]
NO_TIME = ["", "0", "-1", "788918399", "2147483648", "874000000000", "1998-04-22", "874000000.5", *SPELT]
NO_STARS = ["", "0", "6", "-1", "five", "1e400", "nan", "inf", "0x5", "+5", " 5", "\uff15", "4.25"]
