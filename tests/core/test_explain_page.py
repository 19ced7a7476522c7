"""The page of `explain --html`: hostile text stays text, the document is well-formed, and it says what was found."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.explaining.evidence import Written
from infra.explaining.line import Explained
from infra.explaining.markup import EMPTY, code, table, tag
from infra.explaining.page import Page, page
from infra.explaining.words import exact_money, number, number_text, visible
from sinks.clickhouse.explanation import Amended, Attempt, Conservation, ExplainedEvent, RefusedEvent, Revision
from sinks.clickhouse.line import LineWindows
from sinks.clickhouse.span_windows import Span, SpanWindow
from sinks.stripe.invoice_line import InvoiceLine, LinePart
from sinks.stripe.line_money import line_money
from sinks.stripe.objects import Price
from topics.quantity import ONE

HOSTILE = "</code><script>alert(1)</script>\"' onload=x &amp; \u202e\x1b[2J"
HOUR_S = 3600


class Reader(HTMLParser):
    """Reads a page as a browser would, and fails where tags are not closed in order."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One more is open."""
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open and closed at once."""
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        """The newest of them is closed."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """What a person reads."""
        if self.open[-1:] != ["style"]:
            self.text += data


def read(document: str) -> Reader:
    """The page, read to its end."""
    reader = Reader()
    reader.feed(document)
    reader.close()
    assert not reader.open
    return reader


def window(number: int, *, counted: int | None = None, name: str = "x") -> SpanWindow:
    """An hour with 7 units, delivered; `counted`: what its events give instead."""
    scaled = (7 if counted is None else counted) * ONE
    revision = Revision(
        generation=0, through_offset=9, first_offset=1, scaled=7 * ONE, events=2, hash="a" * 64, closed_at_ms=1, counted_scaled=scaled,
        counted_events=2, counted_hash="a" * 64, cause=f"1 late event of {name}",
    )  # fmt: skip
    attempt = Attempt(
        kind="cell", provider="stripe", account="default", cell=f"si_1|{number}", revision=1, attempt=1, generation=0, through_offset=9,
        window_scaled=7 * ONE, scaled=7 * ONE, units="7", state="delivered", outcome="delivered", http_status=200, request_id=f"req_{number}{name}",
        idempotency_key="tm1_1", reason="", sentence="", intent_at_ms=1, reported_at_ms=2, item="si_1", second_s=number * HOUR_S, log_offset=1,
    )  # fmt: skip
    return SpanWindow(
        start_s=number * HOUR_S, end_s=(number + 1) * HOUR_S, partition=0, now_scaled=scaled, now_events=2, now_hash="a" * 64, last=(0, 10), late=1,
        amended=0, revisions=(revision, revision), attempts=(attempt, attempt),
    )  # fmt: skip


def line(windows: list[SpanWindow], name: str = "x") -> Explained:
    """A line over these windows, at 60 a unit; `name` stands wherever somebody else's text does."""
    event = ExplainedEvent(
        generation=0, offset=3, partition=0, event_id=name, source=name, occurred_at_us=1, received_at_ms=1, verdict="duplicate", scaled=ONE,
        is_late=False,
    )  # fmt: skip
    refused = RefusedEvent(
        generation=0, offset=4, partition=0, event_id=name, verdict="rejected", reason="not_json", sentence=name, occurred_at_us=0, received_at_ms=1
    )
    amended = Amended(
        generation=0, offset=5, partition=0, event_id="am", occurred_at_us=1, received_at_ms=1, scaled=-ONE, start_s=0, kind="void", who=name,
        reason=name, of_source=name, of_id=name, of_generation=0, of_offset=3,
    )  # fmt: skip
    kept = Conservation(
        partition=0, generation=0, base=0, next_offset=9, counted=6, duplicate=1, rejected=1, too_late=0, rerouted=0, control=1, skipped=0,
        archived_offset=9,
    )  # fmt: skip
    span = Span(
        customer=name, meter=name, from_s=0, to_s=10**9, windows=tuple(windows),
        fates={"counted": (6, 6), "duplicate": (1, 1), "rejected": (1, 0)},
        duplicates=(event,), late=(event,), refused=(refused,), amendments=(amended,), conservation=(kept,),
    )  # fmt: skip
    found = LineWindows(span=span, item="si_1", start_s=0, end_s=10**9)
    units = found.units
    bill = InvoiceLine(
        "in_1", "paid", "il_1", "si_1", "price_1", 0, 10**9, units, units * 60, "usd", number=name, parts=(LinePart("il_1", units, units * 60),)
    )
    money = line_money(bill, Price(id="price_1", unit_amount=60), found.units)  # type: ignore[arg-type]
    return Explained(bill, found, found.faults(units), money=money)


def test_hostile_text_stays_text() -> None:
    """Whatever ids, sources, customers, reasons and request ids hold, the page has no tag and no attribute of theirs, and shows what they are."""
    reader = read(page(Page(lines=[line([window(1, name=HOSTILE)], HOSTILE)]), 1, Written(HOSTILE, 1, "ab")))
    assert reader.seen.isdisjoint({"script", "a", "img", "iframe", "link", "object"})
    assert not any(name.startswith("on") or name in {"src", "href", "style"} for name in reader.attributes)
    assert "</code><script>alert(1)</script>" in reader.text
    assert "\u202e" not in reader.text
    assert "\x1b" not in reader.text
    assert "\\u202e\\u001b[2J" in reader.text


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_comes_back_as_it_was(text: str, other: str) -> None:
    """A table of any two texts reads as those two texts, with what does not print made visible."""
    reader = read(table(text, [(other, False)], [[code(text)], [other]]))
    assert reader.text == visible(text) + visible(other) + visible(text) + visible(other)


@pytest.mark.parametrize(("name", "attributes"), [("script", {}), ("p", {"onclick": "x"}), ("p", {"style": "x"}), ("img", {"src": "x"})])
def test_what_acts_or_fetches_cannot_be_written(name: str, attributes: dict[str, str]) -> None:
    """A tag or an attribute that runs, fetches or styles by itself is an error where it is written."""
    with pytest.raises(ValueError, match="of a page"):
        tag(name, **attributes)


def test_the_page_stands_alone() -> None:
    """The document names no address, loads nothing, and says its language, its width and its title."""
    document = page(Page(lines=[line([window(1)])]), 1)
    assert document.startswith("<!doctype html>\n<html lang=\"en\">")
    assert not re.search(r"https?:|url\(|@import|<script|<link", document)
    assert "<title>4.20 USD: invoice line il_1, explained</title>" in document
    assert 'name="viewport"' in document


def test_a_line_that_holds_says_so_at_the_top() -> None:
    """The amount, the verdict, the price's working, each request id, what came late or twice, who amended and why, and the proof are on the page."""
    text = read(page(Page(lines=[line([window(1), window(2)])]), 1, Written("line.jsonl", 4, "c0ffee"))).text
    for said in (
        "8.40 USD", "Proved: the line follows", "8.40 USD: the same as on the invoice", "req_1x", "req_2x", "Duplicates: 1", "Late: 2",
        "Not taken: 1", "Amendments: 1", "4 of 4 revisions of 2 windows", "without a fate", "line.jsonl", "c0ffee", "hashlib",
    ):  # fmt: skip
        assert said in text


def test_a_line_that_does_not_hold_says_so_at_the_top() -> None:
    """A window whose events give another total is named under the heading, and marked where it stands."""
    text = read(page(Page(lines=[line([window(1), window(2, counted=6)])]), 1)).text
    assert "Not proved: 1 contradiction" in text
    assert "7 was emitted, its events give 6" in text
    assert "DIFFERS" in text


def test_more_windows_than_a_page_can_show_are_cut_and_said() -> None:
    """Of very many windows the contradicting and the largest are shown, and the page says how many there are."""
    text = read(page(Page(lines=[line([window(number) for number in range(3000)] + [window(3000, counted=6)])]), 1)).text
    assert "2,500 of 3,001 are shown" in text
    assert "1970-05-06 00:00:00 … 01:00:00" in text


def test_a_period_of_negative_usage_bills_nothing() -> None:
    """Where corrections outweigh what was used Stripe's line says 0, which contradicts nothing; a line of more does."""
    held = window(1)
    below = replace(held, attempts=tuple(replace(attempt, units="-7") for attempt in held.attempts))
    found = line([below]).windows
    assert found.units == -7
    assert found.faults(0) == []
    assert found.faults(1) == ["the line bills 1 units, the provider answered for -7"]


@pytest.mark.parametrize(("text", "shown"), [("2780960", "2,780,960"), ("-1234.5", "-1,234.5"), ("-0.5", "-0.5"), ("0.000000000001",) * 2])
def test_numbers_keep_every_digit(text: str, shown: str) -> None:
    """Thousands are set apart and no digit is lost, on either side of zero."""
    assert number_text(text) == shown


def test_money_and_numbers_are_exact() -> None:
    """Parts of a cent are shown with all their places, and thirds as what they are."""
    from fractions import Fraction

    assert exact_money(Fraction("123456.75"), "usd") == "1,234.5675 USD"
    assert [number(Fraction("1234.5")), number(Fraction(1, 3)), number(-4212)] == ["1,234.5", "1/3", "-4,212"]
