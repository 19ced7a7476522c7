"""Mutators by seed: of bytes without knowing what they mean, and of JSON, written token by token so that it can be wrong in every way."""

from __future__ import annotations

import json
from random import Random
from typing import Any, Final

TOKENS: Final[tuple[bytes, ...]] = (
    b"\x00", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xf4\x90\x80\x80", b"\xc0\x80", b"\xe2\x80\xa8", b'"', b"\\", b"\\u", b"\\ud800",
    b"\\udc00", b"\\u0000", b"{", b"}", b"[", b"]", b",", b":", b"null", b"true", b"NaN", b"-Infinity", b"1e400", b"-0", b"-0.0", b"1e-400", b"0x10",
    b"9007199254740993", b"18446744073709551616", b"1" * 400, b"9" * 5000, b"1e" + b"0" * 5000 + b"1", b"[" * 70, b'{"a":' * 70, b" ", b"\n", b"\r\n",
    b"\t", b"\x1f", b"\x7f", b"%", b"|", b"&", b"=", b"a[b]=", b"/", b"..", b"'", b"`", b"#", b";", b"-", b"+1", b".5", b"5.", b"1_000",
    "\u0661".encode(), "\u00b2".encode(), "\U0001f600".encode(), b"<html>", b"\xe9",
)  # fmt: skip
"""What parsers are known to trip over: escapes, surrogates, constants, borders of numbers, depth, white space, other digits."""


def damaged(rng: Random, data: bytes, most: int = 4) -> bytes:
    """The bytes with one to `most` small wounds."""
    for _ in range(rng.randrange(1, most + 1)):
        at = rng.randrange(len(data) + 1)
        to = min(len(data), at + rng.choice((1, 1, 2, 5, 20)))
        match rng.randrange(8):
            case 0:
                data = data[:at] + bytes(byte ^ (1 << rng.randrange(8)) for byte in data[at : at + 1]) + data[at + 1 :]
            case 1:
                data = data[:at] + rng.choice(TOKENS) + data[at:]
            case 2:
                data = data[:at] + rng.choice(TOKENS) + data[to:]
            case 3:
                data = data[:at] + data[to:]
            case 4:
                data = data[:at] + data[at:to] * rng.choice((2, 3)) + data[to:]
            case 5:
                data = data[:at] + rng.randbytes(to - at) + data[to:]
            case 6:
                data = data[:at] if rng.random() < 0.3 else data + rng.choice((b"\x00", b"}", b" ", b"\n", b"x"))
            case _:
                other = rng.randrange(len(data) + 1)
                data = data[:at] + data[other : other + to - at] + data[to:]
    return data


NUMBERS: Final[tuple[bytes, ...]] = (
    b"0", b"-0", b"-0.0", b"1", b"-1", b"0.1", b"1e2", b"1E+2", b"1.5e-3", b"1e-12", b"1e-13", b"0.000000000001", b"0.0000000000010",
    b"1e18", b"1e19",
    b"1000000000000000000", b"1000000000000000001", b"1e400", b"-1e400", b"1e-400", b"9007199254740993", b"9007199254740993.0", b"123456789012345678",
    b"9223372036854775808", b"18446744073709551616", b"9" * 60, b"9" * 5000, b"1." + b"0" * 5000, b"1e" + b"0" * 5000 + b"1", b"0e" + b"9" * 30,
    b"NaN", b"Infinity", b"-Infinity", b"nan", b"01", b"1.", b".1", b"+1", b"0x1", b"1_0", b"1e", b"--1", b"1,5", b"true", b"false", b"null",
)  # fmt: skip
"""As they would stand in JSON, and some that may not."""
STRINGS: Final[tuple[bytes, ...]] = (
    b'""', b'"a"', b'"\\u0000"', b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\ud83d\\ude00"', b'"\xf0\x9f\x98\x80"', b'"\xed\xa0\x80"',
    b'"\xff"', b'"\\x"',
    b'"\\u12"', b'"\x01"', b'"\t"', b'"\\/"', b'"\x7f"', b'"\xc3\xa9"', b'"e\xcc\x81"', b'"\xef\xbb\xbf"', b'" "', b'"1"', b'"1.50"',
    b'"1e3"', b'" 1"',
    b'"1 "', b'"+1"', b'"0x1"', b'"1_0"', b'"\xd9\xa1"', b'"NaN"', b'"-0"', b'"1e400"', b'"' + b"9" * 5000 + b'"',
    b'"' + b"x" * 70_000 + b'"', b"'a'", b'"a',
    b'"2026-11-21T00:00:00Z"', b'"2026-11-21T00:00:60Z"', b'"2026-11-21T24:00:00Z"', b'"2026-02-29T00:00:00Z"', b'"2026-11-21T00:00:00"',
    b'"2026-11-21T00:00:00.9999999999Z"', b'"0001-01-01T00:00:00+14:00"', b'"9999-12-31T23:59:59-23:59"', b'"2026-11-21 00:00:00z"', b'"1795219200"',
)  # fmt: skip


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data, parse_int=str, parse_constant=_refuse)
        json.dumps(json.loads(data, parse_int=str), ensure_ascii=False).encode()
    except ValueError:
        return False
    return True


def _refuse(name: str) -> object:
    raise ValueError(name)


GOOD_NUMBERS: Final = tuple(number for number in NUMBERS if _is_json(number))
GOOD_STRINGS: Final = tuple(string for string in STRINGS if _is_json(string))


def token(rng: Random, depth: int = 0) -> bytes:
    """A JSON value, or nearly one."""
    match rng.randrange(6 if depth < 4 else 4):
        case 0 | 1:
            return rng.choice(NUMBERS if rng.random() < 0.3 else GOOD_NUMBERS)
        case 2 | 3:
            return rng.choice(STRINGS if rng.random() < 0.3 else GOOD_STRINGS)
        case 4:
            inner = b",".join(token(rng, depth + 1) for _ in range(rng.randrange(4)))
            levels = 1 if rng.random() < 0.9 else rng.choice((61, 62, 63, 64, 65, 200, 20_000))
            return b"[" * levels + inner + b"]" * (levels if rng.random() < 0.95 else levels - 1)
        case _:
            return written(rng, [(rng.choice(("a", "n", "region", "id", "data")), token(rng, depth + 1)) for _ in range(rng.randrange(4))])


def written(rng: Random, members: list[tuple[str, bytes]]) -> bytes:
    """A JSON object of these members: sometimes out of order, with one twice, with white space or something after its end."""
    members = list(members)
    if members and rng.random() < 0.1:
        members.insert(rng.randrange(len(members)), (rng.choice(members)[0], rng.choice(STRINGS + NUMBERS)))
    if rng.random() < 0.1:
        rng.shuffle(members)
    space = rng.choice((b" ", b"\n", b"\r\n\t", b"\x0b", b"\xc2\xa0")) if rng.random() < 0.1 else b""
    names = [_name(rng, name) for name, _ in members]
    body = (b"," + space).join(name + space + b":" + space + value for name, (_, value) in zip(names, members, strict=True))
    tail = rng.choice((b"\n", b" ", b"\x00", b"{}", b",", b"x", b"\xef\xbb\xbf")) if rng.random() < 0.05 else b""
    return space + b"{" + body + b"}" + tail


def _name(rng: Random, name: str) -> bytes:
    if name and rng.random() < 0.03:
        return b'"' + "".join(f"\\u{ord(letter):04x}" for letter in name).encode() + b'"'
    return json.dumps(name).encode()


def altered(rng: Random, document: dict[str, Any], times: int = 2) -> list[tuple[str, bytes]]:
    """The members of a document as tokens: some gone, some with another value, some new, some changed deep inside."""
    members = [(name, json.dumps(value).encode()) for name, value in document.items()]
    for _ in range(rng.randrange(times + 1)):
        at = rng.randrange(len(members))
        name, value = members[at]
        match rng.randrange(5):
            case 0 if len(members) > 1:
                del members[at]
            case 1 if isinstance(document.get(name), dict):
                members[at] = (name, written(rng, altered(rng, document[name]))) if document[name] else (name, token(rng))
            case 2:
                members.append((rng.choice((*document, "extra", "", "a\x00b")), token(rng)))
            case 3:
                members[at] = (name, rng.choice((json.dumps(value.decode(errors="replace")).encode(), b"[" + value + b"]", b"null", value + value)))
            case _:
                members[at] = (name, token(rng))
    return members
