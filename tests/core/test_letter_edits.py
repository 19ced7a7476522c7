"""Transformations of dead letters: what they change they change exactly, and everything else keeps every byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.letters.edits import Edits, Record, apply, check
from infra.letters.json_text import CannotEdit, cut, move, put, raw
from topics.errors import UsageError
from topics.quantity import Digits

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="."), min_size=1, max_size=8)
NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True).map(Digits)
VALUES = st.recursive(
    st.none() | st.booleans() | st.text(max_size=6) | NUMBERS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(NAMES, below, max_size=3),
    max_leaves=12,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=5)
SPACES = st.sampled_from(("", " ", "\n  ", "\t", "\r\n"))


def written(draw: Any, value: object) -> str:
    """JSON of a value with digits as they stand and spaces wherever JSON takes them."""
    space = draw(SPACES)
    if isinstance(value, Digits):
        return str(value)
    if isinstance(value, dict):
        inner = ",".join(f"{space}{json.dumps(name)}{space}:{draw(SPACES)}{written(draw, below)}{space}" for name, below in value.items())
        return "{" + (inner or space) + "}"
    if isinstance(value, list):
        return "[" + ",".join(f"{space}{written(draw, below)}{draw(SPACES)}" for below in value) + "]"
    return json.dumps(value, ensure_ascii=draw(st.booleans()))


@st.composite
def documents(draw: Any) -> tuple[str, dict[str, Any]]:
    """A document as text, and what it says."""
    value = draw(OBJECTS)
    return draw(SPACES) + written(draw, value) + draw(SPACES), value


def meaning(text: str) -> Any:
    """What a reader reads, with every digit of every number."""
    return json.loads(text, parse_int=Digits, parse_float=Digits)


def paths_in(value: object, before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every path through objects."""
    if not isinstance(value, dict):
        return []
    return [path for name, below in value.items() for path in ((*before, name), *paths_in(below, (*before, name)))]


@given(documents(), st.data())
def test_what_stands_there_put_again_changes_no_byte(found: tuple[str, dict[str, Any]], data: st.DataObject) -> None:
    """Putting each value where it stands already gives the same bytes, digits and spaces included; no transformation gives them too."""
    text, value = found
    for path in paths_in(value):
        there = raw(text, path)
        assert there is not None
        assert put(text, path, there) == text
    assert apply(Edits(), Record(b"k", text.encode())) == Record(b"k", text.encode())


@given(documents(), st.data())
def test_only_the_place_changes(found: tuple[str, dict[str, Any]], data: st.DataObject) -> None:
    """A value that is put at any path, new or old, is there afterwards; every other member says what it said, digit by digit, in its order."""
    text, value = found
    known = paths_in(value)
    new = st.tuples(NAMES) | st.tuples(NAMES, NAMES)
    path: tuple[str, ...] = data.draw(st.sampled_from(known) | new if known else new)
    wanted = json.loads(json.dumps(value), object_hook=dict)
    here: Any = wanted
    for name in path[:-1]:
        here = here.setdefault(name, {})
        if not isinstance(here, dict):
            with pytest.raises(CannotEdit):
                put(text, path, "12.50")
            return
    here[path[-1]] = "here"
    changed = put(text, path, '"here"')
    assert list(meaning(changed)) == list(wanted)
    assert meaning(changed) == wanted
    there = raw(text, path)
    if there is not None:
        places = [at for at in range(len(text)) if text.startswith(there, at)]
        assert changed in {text[:at] + '"here"' + text[at + len(there) :] for at in places}


@given(documents(), st.data())
def test_a_member_that_is_cut_or_moved_leaves_the_others(found: tuple[str, dict[str, Any]], data: st.DataObject) -> None:
    """Cutting a member removes it alone; renaming it keeps its value's bytes and every other member."""
    text, value = found
    known = paths_in(value)
    if not known:
        return
    path = data.draw(st.sampled_from(known))
    gone = meaning(cut(text, path))
    assert path not in paths_in(gone)
    assert [each for each in paths_in(gone) if each[: len(path)] != path] == [each for each in known if each[: len(path)] != path]
    new = (*path[:-1], "another name")
    moved = move(text, path, new)
    assert raw(moved, new) == raw(text, path)
    assert move(moved, new, path) == text or json.dumps(path[-1], ensure_ascii=False) not in text


LETTER = (
    b'{"specversion":"1.0", "id":"7","source":"edge","type":"llm.request","subject":"acme",\n'
    b' "trace":1.50e+02,"data":{"tok":" 12.500 ","n":9007199254740993}}'
)


@pytest.mark.parametrize(
    ("edits", "before", "after"),
    [
        (Edits(rename=(("data.tok", "data.tokens"),)), b'"tok":" 12.500 "', b'"tokens":" 12.500 "'),
        (Edits(number=("data.tok",)), b'" 12.500 "', b"12.500"),
        (Edits(rename=(("data.tok", "data.tokens"),), number=("data.tokens",)), b'"tok":" 12.500 "', b'"tokens":12.500'),
        (Edits(set=(("data.tok", "0.10"),)), b'" 12.500 "', b"0.10"),
        (Edits(set=(("data.tok", "twelve"),)), b'" 12.500 "', b'"twelve"'),
        (Edits(set=(("id", "12"),)), b'"id":"7"', b'"id":"12"'),
        (Edits(set=(("time", "2026-11-03T10:00:00Z"),)), b"9007199254740993}}", b'9007199254740993},"time":"2026-11-03T10:00:00Z"}'),
        (Edits(remove=("trace",)), b'"trace":1.50e+02,', b""),
        (Edits(remove=("data.n",)), b',"n":9007199254740993', b""),
        (Edits(set=(("data.deep.er", "true"),)), b"9007199254740993}", b'9007199254740993,"deep":{"er":true}}'),
    ],
)
def test_each_transformation_changes_what_it_says(edits: Edits, before: bytes, after: bytes) -> None:
    """Of an event with spaces, an unknown attribute and a number beyond 2⁵³, only what is named changes."""
    assert LETTER.count(before) == 1
    assert apply(edits, Record(b"acme", LETTER)) == Record(b"acme", LETTER.replace(before, after))


def test_bytes_become_text() -> None:
    """A byte order mark goes, another encoding becomes UTF-8, and the key becomes the subject."""
    bom = b"\xef\xbb\xbf"
    assert apply(Edits(strip_bom=True), Record(None, bom + LETTER)) == Record(None, LETTER)
    assert apply(Edits(decode="utf-16", strip_bom=True), Record(b"k", LETTER.decode().encode("utf-16"))) == Record(b"k", LETTER)
    latin = '{"subject":"Käfer"}'
    assert apply(Edits(decode="latin-1", key_from_subject=True), Record(None, latin.encode("latin-1"))) == Record(b"K\xc3\xa4fer", latin.encode())


@pytest.mark.parametrize(
    ("edits", "value", "said"),
    [
        (Edits(number=("data.tok",)), b'{"data":{"tok":"1,234"}}', "not exactly one number"),
        (Edits(number=("data.tok",)), b'{"data":{"tok":true}}', "not exactly one number"),
        (Edits(number=("data.tok",)), b'{"data":{}}', "there is no data.tok"),
        (Edits(set=(("data.a", "1"),)), b'{"data":{"a":1,"a":2}}', "twice"),
        (Edits(set=(("data.a", "1"),)), b'{"data":[1]}', "no JSON object"),
        (Edits(rename=(("a", "b"),)), b'{"a":1,"b":2}', "there already"),
        (Edits(rename=(("data", "data.x"),)), b'{"data":{}}', "lies inside"),
        (Edits(remove=("a",)), b'{"b":2}', "there is no a"),
        (Edits(remove=("a",)), b'{"a":1} x', "after its end"),
        (Edits(remove=("a",)), b'{"a":1', "no JSON"),
        (Edits(remove=("a",)), b'\xef\xbb\xbf{"a":1}', "--strip-bom"),
        (Edits(remove=("a",)), b"\xff\xfe", "--decode"),
        (Edits(remove=("a",)), b"", "no value"),
        (Edits(key_from_subject=True), b'{"subject":7}', "no subject"),
        (Edits(key_from_subject=True), b'{"subject":"\\ud800"}', "surrogate"),
        (Edits(decode="utf-16"), b"abc", "utf-16"),
    ],
)
def test_what_cannot_be_done_is_said(edits: Edits, value: bytes, said: str) -> None:
    """A transformation that does not fit a letter's bytes changes nothing and says why; a number is never guessed."""
    with pytest.raises(CannotEdit, match=said):
        apply(edits, Record(b"k", value))


def test_what_fits_no_letter_is_refused_before_any_is_read() -> None:
    """Paths without names, members of text, control records and files of a newer program are faults of the command."""
    for edits in (Edits(remove=("data..x",)), Edits(set=(("id.x", "1"),)), Edits(set=(("type", "tidemark.meters"),)), Edits(v=2)):
        with pytest.raises(UsageError):
            check(edits)
