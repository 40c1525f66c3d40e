"""Hashes that are the same on every machine, in every process and version."""

import numpy as np
import numpy.typing as npt
import polars as pl

UInt64s = npt.NDArray[np.uint64]


def splitmix64(x: npt.NDArray[np.integer]) -> UInt64s:
    """Mixes 64-bit integers one to one (Steele, Lea and Flood, OOPSLA 2014)."""
    z = x.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def uniform(hashes: UInt64s, seed: int) -> npt.NDArray[np.float64]:
    """A number in [0, 1) for each hash, the same for the same hash and seed."""
    drawn = splitmix64(hashes ^ splitmix64(np.asarray([seed])))
    return (drawn >> np.uint64(11)).astype(np.float64) * 2.0**-53


def hash_values(values: pl.Series) -> UInt64s:
    """64-bit hash of each value; none may be null. Text is hashed by its UTF-8 bytes, the rest by its 64 bits."""
    if values.dtype == pl.String:
        return _hash_text(values)
    bits = values.to_physical()
    if bits.dtype.is_float():
        return splitmix64((bits.cast(pl.Float64).to_numpy() + 0.0).view(np.uint64))  # + 0.0: one zero, not two
    return splitmix64(bits.cast(pl.Int64).to_numpy())


def _hash_text(values: pl.Series) -> UInt64s:
    lengths = values.str.len_bytes().to_numpy().astype(np.int64)
    starts = np.cumsum(lengths) - lengths
    padded = np.frombuffer(values.str.join().item().encode() + bytes(8), np.uint8)
    words = np.lib.stride_tricks.sliding_window_view(padded, 8)
    state = splitmix64(lengths)
    for done in range(0, int(lengths.max(initial=0)), 8):
        rows = np.flatnonzero(lengths > done)
        word = words[starts[rows] + done].view("<u8")[:, 0].astype(np.uint64)
        beyond = 8 * (8 - np.minimum(8, lengths[rows] - done)).astype(np.uint64)
        word = word << beyond  # drops the bytes that belong to the next text
        state[rows] = splitmix64(state[rows] ^ word)
    return state
