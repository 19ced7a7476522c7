"""What verbs print of things that others wrote: visible, and without power over the terminal."""

from __future__ import annotations

import pytest

from infra.cli.output import console, fields, note, say, say_error, table

HOSTILE = "evt\x1b[2J\x1b]0;title\x07\u202e\x9b31m\x00"
SEEN = "evt\\x1b[2J\\x1b]0;title\\x07\\u202e\\x9b31m\\x00"


def test_no_text_of_others_rules_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """An id, a source or a reason with hidden controls is printed with them visible, in sentences, faults, fields and tables."""
    say(HOSTILE)
    note(HOSTILE)
    say_error(HOSTILE)
    fields({"id": HOSTILE})
    table(("id",), [[HOSTILE]])
    console().print(HOSTILE, markup=False)
    out, err = capsys.readouterr()
    assert (out + err).count(SEEN) == 6
    assert not set(out + err) & set("\x1b\x07\x9b\x00\u202e")


def test_a_value_makes_no_row_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """A reason with ends of lines stays in its row of a table; a sentence of ours may have several lines."""
    table(("id", "reason"), [["a", "sent twice\nb  applied"]])
    say("one\ntwo")
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[-3:] == ["a   sent twice\\nb  applied", "one", "two"]


def test_other_writing_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Letters of any language, signs and pictures are printed as they are."""
    say("größer → 売上 ✓ 😀\té")
    assert capsys.readouterr().out == "größer → 売上 ✓ 😀\té\n"
