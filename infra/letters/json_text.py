"""Changes to JSON as text: what is not changed keeps every byte, digits, spaces and unknown members included. Pure.

A document is walked by the standard library's scanner, which says where each value begins and ends; numbers are never read. A path is
names joined by dots, through objects only. A name that an object has twice names nothing: which of the two counts is the reader's choice.
"""

from __future__ import annotations

import json
import re
from typing import Final, NamedTuple

from topics.errors import TidemarkError

_SPACE = re.compile(r"[ \t\r\n]*")
_RAW: Final = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
"""Finds a value's end without reading its numbers: Python refuses integers of more than 4300 digits."""
Path = tuple[str, ...]


class CannotEdit(TidemarkError):
    """The change does not fit these bytes; the sentence says why."""


class Member(NamedTuple):
    """One member of an object: its name and where name and value stand in the text."""

    name: str
    key_at: int
    key_end: int
    value_at: int
    value_end: int


class Members(NamedTuple):
    """An object: its members in order, where its `{` and its `}` stand."""

    found: tuple[Member, ...]
    start: int
    end: int


def path_of(text: str) -> Path:
    """`data.tokens` as a path. Raises CannotEdit where a name is empty."""
    names = tuple(text.split("."))
    if not all(names):
        raise CannotEdit(f"{text!r} is no path; write for example time or data.tokens")
    return names


def members(text: str, at: int) -> Members:
    """The object that begins at `at`. Raises CannotEdit where none does, or the text is no JSON."""
    if text[at : at + 1] != "{":
        raise CannotEdit("there is no JSON object where the path leads")
    found: list[Member] = []
    here = _skip(text, at + 1)
    if text[here : here + 1] == "}":
        return Members((), at, here)
    while True:
        if text[here : here + 1] != '"':
            raise CannotEdit(f"the value is no JSON: a name is missing at character {here}")
        name, key_end = _value(text, here)
        colon = _skip(text, key_end)
        if text[colon : colon + 1] != ":":
            raise CannotEdit(f"the value is no JSON: a colon is missing at character {colon}")
        value_at = _skip(text, colon + 1)
        value_end = _value(text, value_at)[1]
        found.append(Member(str(name), here, key_end, value_at, value_end))
        after = _skip(text, value_end)
        if text[after : after + 1] == "}":
            return Members(tuple(found), at, after)
        if text[after : after + 1] != ",":
            raise CannotEdit(f"the value is no JSON: a comma is missing at character {after}")
        here = _skip(text, after + 1)


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()


def _value(text: str, at: int) -> tuple[object, int]:
    """A value and where it ends."""
    try:
        return _RAW.raw_decode(text, at)
    except (ValueError, RecursionError) as error:
        raise CannotEdit(f"the value is no JSON: {error}") from None


def root(text: str) -> Members:
    """The document, which has to be one object and nothing after it."""
    found = members(text, _skip(text, 0))
    if _skip(text, found.end + 1) != len(text):
        raise CannotEdit("the value is no JSON: something stands after its end")
    return found


def _one(inside: Members, name: str) -> Member | None:
    same = [member for member in inside.found if member.name == name]
    if len(same) > 1:
        raise CannotEdit(f"{name!r} stands there twice: which one is meant, only its producer knows")
    return same[0] if same else None


def _parent(text: str, path: Path) -> Members | None:
    """The object that holds the last name of the path; None where a part of the way is not there."""
    inside = root(text)
    for name in path[:-1]:
        member = _one(inside, name)
        if member is None:
            return None
        inside = members(text, member.value_at)
    return inside


def raw(text: str, path: Path) -> str | None:
    """The value at the path as it stands; None where there is none."""
    inside = _parent(text, path)
    member = None if inside is None else _one(inside, path[-1])
    return None if member is None else text[member.value_at : member.value_end]


def put(text: str, path: Path, value: str) -> str:
    """The text with `value`, JSON as it shall stand, at the path; objects that are missing on the way are made."""
    inside = root(text)
    for depth, name in enumerate(path):
        member, last = _one(inside, name), depth == len(path) - 1
        if member is None:
            for below in reversed(path[depth + 1 :]):
                value = "{" + _name(below) + ":" + value + "}"
            return _added(text, inside, _name(name) + ":" + value)
        if last:
            return text[: member.value_at] + value + text[member.value_end :]
        inside = members(text, member.value_at)
    raise AssertionError("unreachable: a path has a last name")


def _name(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


def _added(text: str, inside: Members, member: str) -> str:
    if not inside.found:
        return text[: inside.start + 1] + member + text[inside.end :]
    after = inside.found[-1].value_end
    return text[:after] + "," + member + text[after:]


def cut(text: str, path: Path) -> str:
    """The text without the member at the path. Raises CannotEdit where there is none."""
    inside = _parent(text, path)
    member = None if inside is None else _one(inside, path[-1])
    if inside is None or member is None:
        raise CannotEdit(f"there is no {'.'.join(path)}")
    at = inside.found.index(member)
    if at + 1 < len(inside.found):
        return text[: member.key_at] + text[inside.found[at + 1].key_at :]
    start = inside.found[at - 1].value_end if at else member.key_at
    return text[:start] + text[member.value_end :]


def move(text: str, old: Path, new: Path) -> str:
    """The text with the member at `old` under `new`; its value keeps every byte. Raises CannotEdit where `old` is not there or `new` is."""
    inside = _parent(text, old)
    member = None if inside is None else _one(inside, old[-1])
    if member is None:
        raise CannotEdit(f"there is no {'.'.join(old)}")
    if raw(text, new) is not None:
        raise CannotEdit(f"{'.'.join(new)} is there already")
    if old[:-1] == new[:-1]:
        return text[: member.key_at] + _name(new[-1]) + text[member.key_end :]
    value = text[member.value_at : member.value_end]
    if new[: len(old)] == old:
        raise CannotEdit(f"{'.'.join(new)} lies inside {'.'.join(old)}")
    return put(cut(text, old), new, value)
