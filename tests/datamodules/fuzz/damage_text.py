"""Ways to damage a text: its cells, fields, columns, lines, and the way it is written."""

import json
import random
from collections.abc import Callable, Sequence
from typing import TypeAlias

Damage: TypeAlias = Callable[[bytes, random.Random, str], bytes | None]
"""Of the plain bytes; the text is the separator of fields, empty where lines are objects. None: can't be done."""

NASTY = [
    *(
        "",
        " ",
        "abc",
        "NaN",
        "nan",
        "null",
        "None",
        "\\N",
        "?",
        "-",
        "--1",
        "-1",
        "-124",
        "0",
        "1",
        "2",
        "3",
        "6",
        "100",
    ),
    *(
        "1.5",
        "4.5",
        "0.5",
        "-0.5",
        "1.0",
        "1e3",
        "1e400",
        "inf",
        "-inf",
        "Infinity",
        "0x1",
        "0X1F",
        "1_000",
        "+1",
        "0b1",
    ),
    *(
        "\uff11\uff12",
        "\u0663",
        "1\u00a0000",
        "99999999999999999999",
        "9223372036854775807",
        "2147483648",
        "-2147483649",
    ),
    *(
        "1234567890123",
        "true",
        "TRUE",
        "1;5",
        " 7",
        "7 ",
        "007",
        "20220230",
        "2022-05-03",
        "\x00",
        '"',
        "'",
        "=1+1",
        "#REF!",
    ),
    *("a b", "1|2", "[1, 2]", "[1, 'x']", "\u00e9", "Z", "9" * 400),
]
NASTY_JSON = [
    *(
        "null",
        '""',
        '" "',
        "5",
        "-1",
        "0",
        "1.5",
        "6",
        "NaN",
        "Infinity",
        "-Infinity",
        '"text"',
        "[]",
        "{}",
        "true",
        "1e400",
    ),
    *("99999999999999999999", '"\\ud800"', '"0x1"', '"1,234"', '"+1"', "[null]", '[""]', '["a", 3]', "[1]", "[-1, 2]"),
    *(
        '"1_000"',
        '"\uff11"',
        "[1.5, 2]",
        '{"useful": -3}',
        '{"useful": 1, "useful": 2}',
        '"a b"',
        '"\\u0000"',
        "1234567890123",
    ),
]


def _lines(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True)


def _at(lines: Sequence[bytes], draw: random.Random) -> int:
    return draw.randrange(len(lines))


def _fields(line: bytes, separator: str) -> tuple[list[bytes], bytes]:
    body = line.rstrip(b"\r\n")
    return body.split(separator.encode()), line[len(body) :]


def _joined(fields: list[bytes], separator: str, end: bytes) -> bytes:
    return separator.encode().join(fields) + end


def _of_line(change: Callable[[list[bytes], random.Random, list[list[bytes]]], list[bytes]]) -> Damage:
    """Changes the fields of one line, be it the line of names."""

    def damage(data: bytes, draw: random.Random, separator: str) -> bytes | None:
        lines = _lines(data)
        if not separator or len(lines) < 3:
            return None
        at = _at(lines, draw) if draw.random() < 0.05 else 1 + draw.randrange(len(lines) - 1)
        fields, end = _fields(lines[at], separator)
        others = [_fields(lines[_at(lines, draw)], separator)[0] for _ in range(3)]
        lines[at] = _joined(change(fields, draw, others), separator, end)
        return b"".join(lines)

    return damage


def _of_all(change: Callable[[list[bytes], int, int], list[bytes]]) -> Damage:
    """Changes the fields of all lines alike."""

    def damage(data: bytes, draw: random.Random, separator: str) -> bytes | None:
        lines = _lines(data)
        if not separator or not lines:
            return None
        width = len(_fields(lines[0], separator)[0])
        one, other = draw.randrange(width), draw.randrange(width)
        changed = []
        for line in lines:
            fields, end = _fields(line, separator)
            fits = len(fields) > max(one, other)
            changed.append(_joined(change(fields, one, other), separator, end) if fits else line)
        return b"".join(changed)

    return damage


def _cell(fields: list[bytes], draw: random.Random, others: list[list[bytes]]) -> list[bytes]:
    fields[draw.randrange(len(fields))] = draw.choice(NASTY).encode()
    return fields


def _neighbour(fields: list[bytes], draw: random.Random, others: list[list[bytes]]) -> list[bytes]:
    at, other = draw.randrange(len(fields)), draw.choice(others)
    fields[at] = other[min(at, len(other) - 1)]
    return fields


def _swapped(fields: list[bytes], one: int, other: int) -> list[bytes]:
    fields[one], fields[other] = fields[other], fields[one]
    return fields


def _names_swapped(data: bytes, draw: random.Random, separator: str) -> bytes | None:
    lines = _lines(data)
    if not separator or len(lines) < 2 or any(c.isdigit() for c in lines[0].decode("latin-1").split(separator)[0]):
        return None
    fields, end = _fields(lines[0], separator)
    fields[draw.randrange(len(fields))] = draw.choice([b"", b"x", fields[0], fields[-1].upper(), fields[0] + b" "])
    return _joined(fields, separator, end) + b"".join(lines[1:])


def _key(data: bytes, draw: random.Random, separator: str) -> bytes | None:
    """Another value for a key of an object, or another key, none, or the key twice."""
    lines = _lines(data)
    if separator or not lines:
        return None
    at = _at(lines, draw)
    try:
        found = json.loads(lines[at])
    except ValueError:
        return None
    pairs = [(json.dumps(key), json.dumps(value, ensure_ascii=False)) for key, value in found.items()]
    place = draw.randrange(len(pairs))
    name, value = pairs[place]
    new = draw.choice(NASTY_JSON)
    pairs[place : place + 1] = draw.choice(
        [[(name, new)], [(name, new)], [(name, new)], [(name, value), (name, new)], [('"other"', value)], []]
    )
    lines[at] = ("{" + ", ".join(f"{name}: {value}" for name, value in pairs) + "}\n").encode("utf-8", "surrogatepass")
    return b"".join(lines)


def _line_damage(change: Callable[[list[bytes], int, random.Random], None]) -> Damage:
    def damage(data: bytes, draw: random.Random, separator: str) -> bytes | None:
        lines = _lines(data)
        if len(lines) < 2:
            return None
        change(lines, _at(lines, draw), draw)
        return b"".join(lines)

    return damage


def _drop(lines: list[bytes], at: int, draw: random.Random) -> None:
    del lines[at]


def _double(lines: list[bytes], at: int, draw: random.Random) -> None:
    lines.insert(draw.randrange(len(lines) + 1), lines[at])


def _swap(lines: list[bytes], at: int, draw: random.Random) -> None:
    other = draw.randrange(len(lines))
    lines[at], lines[other] = lines[other], lines[at]


def _join(lines: list[bytes], at: int, draw: random.Random) -> None:
    lines[at] = lines[at].rstrip(b"\r\n")


def _break(lines: list[bytes], at: int, draw: random.Random) -> None:
    place = draw.randrange(len(lines[at]))
    lines[at] = lines[at][:place] + draw.choice([b"\n", b"\r", b"\r\n", b'"']) + lines[at][place:]


def _half(lines: list[bytes], at: int, draw: random.Random) -> None:
    del lines[max(1, at) :]


TEXT: dict[str, Damage] = {
    "cell": _of_line(_cell),
    "cell of another line": _of_line(_neighbour),
    "field dropped": _of_line(lambda fields, draw, others: fields[1:] if draw.random() < 0.5 else fields[:-1]),
    "field doubled": _of_line(lambda fields, draw, others: fields[:1] + fields),
    "fields swapped": _of_line(lambda fields, draw, others: draw.sample(fields, len(fields))),
    "column dropped": _of_all(lambda fields, one, other: fields[:one] + fields[one + 1 :]),
    "column doubled": _of_all(lambda fields, one, other: fields[:one] + fields[one : one + 1] + fields[one:]),
    "columns swapped": _of_all(_swapped),
    "name": _names_swapped,
    "key": _key,
    "line dropped": _line_damage(_drop),
    "line doubled": _line_damage(_double),
    "lines swapped": _line_damage(_swap),
    "lines joined": _line_damage(_join),
    "line broken": _line_damage(_break),
    "half": _line_damage(_half),
    "header only": lambda data, draw, separator: _lines(data)[0],
    "header gone": lambda data, draw, separator: b"".join(_lines(data)[1:]),
    "twice": lambda data, draw, separator: data + data,
    "crlf": lambda data, draw, separator: data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"),
    "cr": lambda data, draw, separator: data.replace(b"\r\n", b"\n").replace(b"\n", b"\r"),
    "mark": lambda data, draw, separator: b"\xef\xbb\xbf" + data,
    "utf-16": lambda data, draw, separator: data.decode("latin-1").encode("utf-16"),
    "separator": lambda data, draw, separator: data.replace(separator.encode(), b"; ") if separator else None,
    "end": lambda data, draw, separator: data.rstrip(b"\r\n"),
    "more": lambda data, draw, separator: data + draw.choice([b"\n\n", b"\x1a", b"total: 12\n", b"\x00" * 20]),
}
"""Of files of text, unpacked."""
