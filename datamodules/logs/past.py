"""What users did earlier: counts up to the hour before, whatever the order of the rows."""

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl

HOUR_MS = 3_600_000
_PENDING = 1 << 20
_USER = 32  # bits of the hour, which stands behind the user in a key
_KEY = pl.col("user_id").cast(pl.Int64) * 2**_USER + pl.col("time_ms") // HOUR_MS


class Past:
    """How often every user was shown something, and clicked it, before the hour of a row.

    Nothing of the row's own hour counts: neither the row nor its repetitions nor anything later is in its features.
    Rows may come in any order. Kept is one entry per user and hour: memory grows with those, not with the rows.

    Args:
        rows: Frames with user_id, time_ms (since 1970) and is_click; rows without user or time don't count.
    """

    def __init__(self, rows: Iterable[pl.DataFrame]) -> None:
        merged, waiting = _merged([]), []
        for frame in rows:
            counted = frame.select(key=_KEY, shown=pl.lit(1, pl.Int64), clicked=pl.col("is_click").cast(pl.Int64))
            waiting.append(_merged([counted.drop_nulls("key")]))
            if sum(map(len, waiting)) > max(_PENDING, len(merged)):
                merged, waiting = _merged([merged, *waiting]), []
        merged = _merged([merged, *waiting]).sort("key")
        self._keys = merged["key"].to_numpy()
        self._shown, self._clicked = (np.append(0, merged[name].to_numpy().cumsum()) for name in ("shown", "clicked"))

    def of(self, rows: pl.DataFrame) -> pl.DataFrame:
        """user_shown, and user_click_rate (null where nothing was shown), of rows with user_id and time_ms."""
        keys = rows.select(_KEY.fill_null(0)).to_series().to_numpy()
        now, first = np.searchsorted(self._keys, keys), np.searchsorted(self._keys, keys >> _USER << _USER)
        shown, clicked = (total[now] - total[first] for total in (self._shown, self._clicked))
        rate = pl.Series(clicked / np.maximum(shown, 1)).set(pl.Series(shown == 0), None)
        return pl.DataFrame({"user_shown": shown, "user_click_rate": rate})


def _merged(counted: Sequence[pl.DataFrame]) -> pl.DataFrame:
    empty = pl.DataFrame(schema=dict.fromkeys(("key", "shown", "clicked"), pl.Int64))
    return pl.concat([empty, *counted]).group_by("key").agg(pl.col("shown", "clicked").sum())
