"""What lets a record be read without the reference, as far as its bytes and headers say: each test may refuse too much, never too little."""

from __future__ import annotations

from typing import Final

from topics.batch import Headers
from topics.event import MAX_DEPTH

_MAX_PLAIN_BYTES: Final = 64 * 1024
"""A plain record, or its headers, is far smaller; larger ones go to the reference, where sizes are counted exactly."""
FLAT_BYTES: Final = 180
"""An event with all its fields has 67 bytes, and 65 levels of brackets 130 more: a shorter one cannot nest too deep."""


def are_alike(subjects: list[str], keys: list[bytes | None]) -> bool:
    """True where each key is its subject's bytes. May be false where they are: then each is looked at."""
    if None in keys:
        return False
    text, data = "".join(subjects), b"".join(keys)  # type: ignore[arg-type]
    # ASCII has one byte a character: texts of equal lengths whose bytes are the same one after another are the same one by one
    return text.isascii() and text.encode() == data and list(map(len, subjects)) == list(map(len, keys))  # type: ignore[arg-type]


def is_foreign(headers: Headers) -> bool:
    """True where headers are a producer's own, and not many: nothing depends on them."""
    size = sum(4 * len(name) + len(data or b"") for name, data in headers)
    return size <= _MAX_PLAIN_BYTES and not any(name.startswith("tidemark-") for name, _ in headers)


def is_utf8(value: bytes) -> bool:
    """True where the reference would call it text."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_flat(value: bytes) -> bool:
    """True where the value is of ordinary size and surely not nested deeper than the reference allows."""
    return len(value) <= _MAX_PLAIN_BYTES and value.count(b"{") + value.count(b"[") <= MAX_DEPTH
