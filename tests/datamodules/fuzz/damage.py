"""Ways to damage a file: any file by its bytes, others by what they hold."""

import gzip
import random

from fuzz.damage_binary import MATRIX, PARQUET
from fuzz.damage_text import TEXT, Damage


def _cut(data: bytes, draw: random.Random, separator: str) -> bytes:
    return data[: draw.randrange(len(data))]


def _zeroed(data: bytes, draw: random.Random, separator: str) -> bytes:
    start = draw.randrange(len(data))
    size = draw.choice([1, 8, 512, 4096])
    return data[:start] + bytes(len(data[start : start + size])) + data[start + size :]


def _flipped(data: bytes, draw: random.Random, separator: str) -> bytes:
    at = draw.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]


def _noise(data: bytes, draw: random.Random, separator: str) -> bytes:
    at = draw.randrange(len(data))
    return data[:at] + draw.randbytes(draw.choice([1, 3, 40])) + data[at:]


BYTES: dict[str, Damage] = {
    "cut": _cut,
    "zeroed": _zeroed,
    "flipped": _flipped,
    "noise": _noise,
    "empty": lambda data, draw, separator: b"",
    "page": lambda data, draw, separator: b"<!DOCTYPE html>\n<html><body>Sign in</body></html>\n",
    "text": lambda data, draw, separator: b"quota exceeded\n",
    "archive": lambda data, draw, separator: b"PK\x03\x04" + data[:200],
    "packed": lambda data, draw, separator: gzip.compress(data),
}
"""Of any file, packed ones as they are."""
OFTEN = ("cell", "cell", "cell", "cell", "key", "key", "key", "key", "cell of another line", "flipped", "cut", "zeroed")


def unpacked(data: bytes) -> bytes:
    """The text of a file, gzipped or not."""
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def damaged(data: bytes, kind: str, draw: random.Random, separator: str) -> bytes:
    """The file with a damage of that kind; as it is where it can't have one."""
    packed = data[:2] == b"\x1f\x8b"
    if kind in BYTES and (not packed or draw.random() < 0.5):
        changed = BYTES[kind](data, draw, separator)
    else:
        changed = (TEXT | BYTES | MATRIX | PARQUET)[kind](unpacked(data), draw, separator)
        if packed and changed is not None:
            changed = gzip.compress(changed, mtime=0)
    return data if changed is None else changed
