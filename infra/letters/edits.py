"""The transformations of `tidemark dead-letters fix`: a small closed set, pure functions on key and bytes of one letter.

They are applied in one order, whatever order they are given in: decode, strip the byte order mark, rename, remove, number, set, key. Nothing
else of the bytes changes (`json_text.py`). What a transformation cannot do to these bytes is said, and the letter stays as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final, Literal

import msgspec

from infra.letters.json_text import CannotEdit, Path, cut, move, path_of, put, raw
from topics.errors import UsageError

BOM: Final = b"\xef\xbb\xbf"
Encoding = Literal["", "latin-1", "utf-16"]
ENCODINGS: Final = ("latin-1", "utf-16")
ATTRIBUTES: Final = ("id", "source", "type", "subject", "time", "specversion")
"""What CloudEvents says is text; `data` alone may hold numbers."""
CONTROL: Final = "tidemark."
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)


class Edits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is done to each letter; the defaults change nothing. As JSON it is the file that `fix --save` writes.

    `decode`: the bytes are text of another encoding and become UTF-8 (latin-1, utf-16). `strip_bom`: the byte order mark goes.
    `rename`: (old path, new path). `remove`: paths. `number`: paths of strings that hold exactly a number and become it, digit by digit.
    `set`: (path, value). `key_from_subject`: the record's key becomes its subject.
    """

    v: int = 1
    decode: Encoding = ""
    strip_bom: bool = False
    rename: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()
    number: tuple[str, ...] = ()
    set: tuple[tuple[str, str], ...] = ()
    key_from_subject: bool = False

    @property
    def is_none(self) -> bool:
        """Whether they change nothing whatever the letter is."""
        return self == Edits()


class Record(msgspec.Struct, frozen=True):
    """Key and value of a letter, before or after."""

    key: bytes | None
    value: bytes | None


def apply(edits: Edits, record: Record) -> Record:
    """The record with the edits. Raises CannotEdit."""
    value = _bytes(edits, record.value)
    if edits.rename or edits.remove or edits.number or edits.set:
        text = _text(value)
        for old, new in edits.rename:
            text = move(text, path_of(old), path_of(new))
        for path in edits.remove:
            text = cut(text, path_of(path))
        for path in edits.number:
            text = put(text, path_of(path), _number(raw(text, path_of(path)), path))
        for path, wanted in edits.set:
            text = put(text, path_of(path), value_of(path_of(path), wanted))
        value = text.encode()
    return Record(_subject(value) if edits.key_from_subject else record.key, value)


def _bytes(edits: Edits, value: bytes | None) -> bytes | None:
    if value is None:
        return None
    if edits.decode:
        try:
            value = value.decode(edits.decode).encode()
        except UnicodeError as error:
            raise CannotEdit(f"the bytes are no {edits.decode}: {error}") from None
    if edits.strip_bom:
        value = value.removeprefix(BOM)
    return value


def _text(value: bytes | None) -> str:
    if not value:
        raise CannotEdit("the record has no value")
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise CannotEdit(f"the value is not valid UTF-8 ({error.reason} at byte {error.start}); see --decode") from None
    if text.startswith("\ufeff"):
        raise CannotEdit("the value begins with a byte order mark; --strip-bom takes it away")
    return text


def _number(found: str | None, path: str) -> str:
    """The number that a JSON string holds, with every digit; spaces around it and a `+` go, nothing is guessed."""
    if found is None:
        raise CannotEdit(f"there is no {path}")
    held = json.loads(found) if found.startswith('"') else found
    digits = str(held).strip().removeprefix("+")
    if not _NUMBER.fullmatch(digits):
        raise CannotEdit(f"{path} is {found[:60]}, which is not exactly one number; say it with --set {path}=…")
    return digits


def value_of(path: Path, wanted: str) -> str:
    """JSON of what --set says: an attribute is always text; in `data` JSON is taken as it stands, anything else is text."""
    if path[0] != "data":
        return json.dumps(wanted, ensure_ascii=False)
    try:
        json.loads(wanted, parse_int=str, parse_float=str, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return json.dumps(wanted, ensure_ascii=False)
    return wanted.strip()


def _no_constant(name: str) -> object:
    raise ValueError(name)


def _subject(value: bytes | None) -> bytes:
    found = raw(_text(value), ("subject",))
    subject = json.loads(found) if found is not None and found.startswith('"') else None
    if not subject:
        raise CannotEdit("there is no subject that could be the key; say it with --set subject=…")
    try:
        return str(subject).encode()
    except UnicodeEncodeError:
        raise CannotEdit("the subject is no text: half of a surrogate pair") from None


def check(edits: Edits) -> Edits:
    """The same edits. Raises UsageError where one can be right for no letter."""
    for path in (*(path for pair in edits.rename for path in pair), *edits.remove, *edits.number, *(path for path, _ in edits.set)):
        try:
            names = path_of(path)
        except CannotEdit as error:
            raise UsageError(str(error)) from None
        if names[0] in ATTRIBUTES and len(names) > 1:
            raise UsageError(f"{path}: {names[0]} is text and holds nothing; only data has members")
    for path, wanted in edits.set:
        if path == "type" and wanted.startswith(CONTROL):
            raise UsageError("a dead letter cannot become a control record; `tidemark apply` writes those")
    if edits.v != 1:
        raise UsageError(f"this file of transformations has version {edits.v}, and this program knows version 1: upgrade tidemark")
    return edits


def edits_of(
    *,
    put: Iterable[str] = (),
    rename: Iterable[str] = (),
    remove: Iterable[str] = (),
    number: Iterable[str] = (),
    strip_bom: bool = False,
    decode: str = "",
    key_from_subject: bool = False,
) -> Edits:
    """The transformations as a command line says them: PATH=VALUE, OLD=NEW, PATH. Raises UsageError."""
    if decode not in {"", *ENCODINGS}:
        raise UsageError(f"--decode {decode!r} is none of {', '.join(ENCODINGS)}")
    said = {
        "decode": decode,
        "strip_bom": strip_bom,
        "rename": [_pair(text, "--rename data.tok=data.tokens") for text in rename],
        "remove": list(remove),
        "number": list(number),
        "set": [_pair(text, "--set data.tokens=12") for text in put],
        "key_from_subject": key_from_subject,
    }
    return msgspec.convert(said, Edits)


def _pair(text: str, example: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"{text!r} has no =; write for example {example}")
    return name, value


def read_file(path: Any) -> Edits:
    """What `fix --save` wrote. Raises UsageError where it cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Edits)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from None
