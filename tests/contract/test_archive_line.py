"""An invoice line explained on the engine, over the small log of `test_archive_explain.py`; and lines read in the shapes of both API eras."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from infra.embedded.testing import engine_server
from infra.explaining.words import money
from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.line import line_windows, owners
from sinks.stripe.invoice_line import find, line_of
from tests.contract.archive_engine import archive_at
from tests.contract.test_archive_explain import ACME, BETA, START_S, Story
from topics.errors import TidemarkError

DAY_S = 86_400
FROM_S, TO_S = START_S - DAY_S, START_S + DAY_S


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    """The story, archived on an engine of its own."""
    with engine_server(tmp_path_factory.mktemp("engine")) as engine:
        clickhouse = archive_at(engine.url, "line")
        Story().write(clickhouse)
        yield clickhouse


def test_a_line_shows_what_stripe_holds_and_the_events_behind_it(archive: ClickHouse) -> None:
    """The windows of the line's period with their newest answer, units, request and events, and no contradiction where all is equal."""
    found = line_windows(archive, ACME, "calls", "si_1", FROM_S, TO_S)
    said = [(each.start_s, each.answer.units, each.answer.request_id, each.answers, each.window.now_events) for each in found.windows]
    assert said == [(START_S, "3", "req_2", 2, 3)]
    assert (found.units, found.events, found.open) == (3, 3, ())
    assert found.faults(3) == []
    assert found.faults(4) == ["the line bills 4 units, the provider answered for 3"]


def test_a_line_takes_the_seconds_of_its_own_period_only(archive: ClickHouse) -> None:
    """A window whose second is the first of the next period, or lies before this one, is on another line."""
    assert len(line_windows(archive, ACME, "calls", "si_1", START_S, TO_S).windows) == 1
    assert line_windows(archive, ACME, "calls", "si_1", FROM_S, START_S).windows == ()
    assert line_windows(archive, ACME, "calls", "si_1", START_S + 1, TO_S).windows == ()
    assert line_windows(archive, ACME, "calls", "si_2", FROM_S, TO_S).windows == ()


def test_a_line_names_what_is_not_on_it(archive: ClickHouse) -> None:
    """Windows that were refused, or never emitted whole, are listed with what they count and what Stripe holds."""
    found = line_windows(archive, BETA, "calls", "si_1", FROM_S, TO_S)
    assert found.windows == ()
    assert [(w.start_s - START_S, w.now_scaled // 10**12, w.delivered_scaled) for w in found.open] == [(0, 10, 0), (1800, 20, 0)]
    assert owners(archive, "si_1") == [(BETA, "calls")]


def test_a_line_whose_event_is_gone_does_not_follow(archive: ClickHouse) -> None:
    """When a raw event is missing, the window that it was in contradicts, although Stripe and the line agree."""
    archive.command("ALTER TABLE raw_events DELETE WHERE event_id = 'a2' SETTINGS mutations_sync = 1")
    found = line_windows(archive, ACME, "calls", "si_1", FROM_S, TO_S)
    assert [window.is_proved for window in found.windows] == [False]
    assert found.faults(3) == ["window 2026-11-20T10:00:00Z: 3.500000000001 was emitted, its events give 1.500000000001"]


PERIOD = {"start": 10, "end": 20}
OLD = {"id": "il_1", "amount": 300, "currency": "usd", "quantity": 3, "period": PERIOD, "subscription_item": "si_1", "price": {"id": "price_1"}}
NEW = {
    "id": "il_2",
    "amount": 7,
    "currency": "jpy",
    "quantity": 7,
    "period": PERIOD,
    "parent": {"type": "subscription_item_details", "subscription_item_details": {"subscription_item": "si_2"}},
    "pricing": {"type": "price_details", "price_details": {"price": "price_2"}},
}
SINGLE = {"id": "il_3", "amount": 1, "currency": "usd", "quantity": 1, "period": PERIOD, "price": {"id": "price_3"}}


TIER: dict[str, Any] = {**OLD, "id": "il_4", "amount": 20, "quantity": 40}


class Invoices:
    """Two invoices; the older one has its lines on a page of its own, two of them the tiers of one price."""

    def get(self, path: str, **_: Any) -> dict[str, Any]:
        """One of them."""
        return next(invoice for invoice in self.pages("/v1/invoices") if path == f"/v1/invoices/{invoice['id']}")

    def pages(self, path: str, **_: Any) -> Iterable[dict[str, Any]]:
        """Both, or the lines of the older one."""
        if path.endswith("/lines"):
            return [OLD, TIER, SINGLE]
        newer = {"id": "in_2", "status": "draft", "lines": {"data": [NEW, SINGLE], "has_more": False}}
        return [newer, {"id": "in_1", "status": "paid", "lines": {"data": [], "has_more": True}}]


@pytest.mark.parametrize(("name", "item"), [("il_1", "si_1"), ("il_2", "si_2"), ("in_1/il_1", "si_1"), ("in_2", "si_2")])
def test_a_line_is_found_by_its_name(name: str, item: str) -> None:
    """A line's id alone, with its invoice, or an invoice with one line of usage names the line, in either shape."""
    assert find(Invoices(), name).item == item


@pytest.mark.parametrize("name", ["il_1", "il_4", "in_1", "in_1/il_4"])
def test_the_tiers_of_a_price_are_one_line(name: str) -> None:
    """Whichever tier of a graduated price is named, the line is all of its units and all of its money."""
    line = find(Invoices(), name)
    assert (line.units, line.amount, line.id) == (43, 320, name.rpartition("/")[2] if "il_" in name else "il_1")


@pytest.mark.parametrize("name", ["il_3", "il_9", "in_1/il_2"])
def test_a_line_that_is_not_there_is_said(name: str) -> None:
    """A line of no invoice, of another invoice, or of no usage is an error that says how to name one."""
    with pytest.raises(TidemarkError, match="in_…/il_…"):
        find(Invoices(), name)


def test_a_line_without_an_item_is_no_usage_and_one_without_a_period_is_an_error() -> None:
    """What bills no subscription item is passed over; a usage line that is not as documented is not guessed at."""
    assert line_of(SINGLE, {"id": "in_1", "status": "paid"}) is None
    with pytest.raises(TidemarkError, match="il_1 of invoice in_1"):
        line_of({**OLD, "period": None}, {"id": "in_1", "status": "paid"})


def test_money_is_shown_in_the_currencys_own_units() -> None:
    """Two places where there is a minor unit, none where there is none, and three where it is a thousandth."""
    shown = [money(123_456, "usd"), money(-5, "eur"), money(1200, "jpy"), money(1500, "kwd")]
    assert shown == ["1,234.56 USD", "-0.05 EUR", "1,200 JPY", "1.500 KWD"]
