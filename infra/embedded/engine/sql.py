"""What has to be known about a statement before the engine gets it: its kind, its format, where an INSERT's data begins. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

TOKEN = re.compile(
    rb"""
    (?P<space>\s+|--[^\n]*|\#[!\ ][^\n]*|/\*.*?\*/)
    |(?P<string>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`)
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<sign>.)
    """,
    re.VERBOSE | re.DOTALL,
)
"""ClickHouse's tokens, as coarse as we need them: what may hide a keyword (comments, strings, quoted names), words, all the rest."""

READING = frozenset({b"SELECT", b"WITH", b"SHOW", b"DESCRIBE", b"DESC", b"EXISTS", b"EXPLAIN", b"CHECK", b"VALUES", b"FROM", b"("})
"""First words of statements that answer with rows, be it none."""

STREAMED = frozenset({b"SELECT", b"WITH", b"FROM", b"("})
"""Of those, the ones that the engine answers block by block; it refuses to stream DESCRIBE, SHOW and their kind."""


@dataclass(frozen=True)
class Insert:
    """An INSERT whose data is in a named format: the statement before its FORMAT clause, the format, where in the text its data begins."""

    statement: bytes
    format_name: str
    data_offset: int


@dataclass(frozen=True)
class _Token:
    """One word (in capitals), sign or string, and where it lies in the text."""

    kind: str
    text: bytes
    start: int
    end: int
    depth: int


def tokens(text: bytes) -> Iterator[_Token]:
    """The tokens of a statement without spaces and comments; `depth` counts the parentheses around each."""
    depth = 0
    for match in TOKEN.finditer(text):
        kind = match.lastgroup or "sign"
        if kind == "space":
            continue
        found = match.group()
        if found == b")":
            depth -= 1
        yield _Token(kind, found.upper() if kind == "word" else found, match.start(), match.end(), depth)
        if found == b"(":
            depth += 1


@dataclass(frozen=True)
class Told:
    """What a request has to know of a statement; each is the function of that name."""

    trailing_format: str | None
    reaches_for_files: bool
    is_many: bool
    returns_rows: bool


REMEMBERED_BYTES = 16 * 1024
"""Statements up to this length are remembered, so that one that is asked again and again, with other parameters, is read once."""


def told(text: bytes) -> Told:
    """All of it; reading 30 lines of SQL takes 1 ms, a third of what the engine takes for a small answer."""
    return _told_before(text) if len(text) <= REMEMBERED_BYTES else _told(text)


def _told(text: bytes) -> Told:
    return Told(trailing_format(text), reaches_for_files(text), is_many(text), returns_rows(text))


_told_before = lru_cache(maxsize=256)(_told)


def first_word(text: bytes) -> bytes:
    """The statement's first word in capitals (or an opening parenthesis), empty for a statement that is none."""
    first = next(tokens(text), None)
    return first.text if first else b""


def returns_rows(text: bytes) -> bool:
    """Whether the statement answers with a result set, which a client must be able to tell from no result at all."""
    return first_word(text) in READING


def is_streamed(text: bytes) -> bool:
    """Whether the engine can answer the statement block by block."""
    return first_word(text) in STREAMED


def parse_insert(text: bytes) -> Insert | None:
    """The parts of an INSERT with data in a named format; None for every other statement, INSERT … SELECT and … VALUES among them.

    The data of INSERT … FORMAT begins after the format's name, after at most one line end (ClickHouse's own rule): binary
    formats may start with any byte.
    """
    stream = tokens(text)
    first = next(stream, None)
    if first is None or first.text != b"INSERT":
        return None
    previous = first
    for token in stream:
        if token.kind == "word" and token.depth == 0 and previous.text != b".":
            if token.text in {b"VALUES", b"SELECT", b"WITH", b"WATCH"} and previous.text not in {b"INTO", b"TABLE"}:
                return None
            if previous.text == b"FORMAT" and token.kind == "word":
                name = text[token.start : token.end].decode("ascii")
                return Insert(text[: previous.start].rstrip(), name, _data_offset(text, token.end))
        previous = token
    return None


def trailing_format(text: bytes) -> str | None:
    """The format that a statement asks for with its last clause (`… FORMAT name`), or None."""
    last: list[_Token] = []
    for token in tokens(text):
        if token.text == b";":
            continue
        last = [*last[-1:], token]
    if len(last) == 2 and last[0].text == b"FORMAT" and last[0].depth == 0 and last[1].kind == "word":
        return text[last[1].start : last[1].end].decode("ascii")
    return None


def reaches_for_files(text: bytes) -> bool:
    """Whether the statement reads or writes a file as only a command line client may: INTO OUTFILE, FROM INFILE.

    A server refuses both over HTTP; the embedded engine would obey, even when told to be read-only.
    """
    if b"FILE" not in text.upper():
        return False
    two_words: tuple[bytes, bytes] = (b"", b"")
    for token in tokens(text):
        # Only before a string are these words the clause; a table or a column may bear the name.
        if token.kind == "string" and two_words in {(b"INTO", b"OUTFILE"), (b"FROM", b"INFILE")}:
            return True
        two_words = (two_words[1], token.text)
    return False


def is_many(text: bytes) -> bool:
    """Whether the text holds more than one statement: a server refuses that over HTTP, so a migration must not get used to it here."""
    if b";" not in text:
        return False
    ended = False
    for token in tokens(text):
        if ended and token.text != b";":
            return True
        ended = ended or (token.text == b";" and token.depth == 0)
    return False


def _data_offset(text: bytes, after_name: int) -> int:
    """Where the data of an INSERT begins: spaces on the format's line and one line end belong to the statement."""
    match = re.compile(rb"[ \t\f]*;?[ \t\f]*\r?\n?").match(text, after_name)
    return match.end() if match else after_name


def quote(value: str) -> str:
    """A ClickHouse string literal."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
