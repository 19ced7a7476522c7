"""What dead letters are worth: exact where customer, meter, quantity and price can be read, units or unknown where they cannot."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import get_args

import pytest

from infra.letters.advice import ADVICE
from infra.letters.archive import Said, checked_names
from infra.letters.edits import Record
from infra.letters.judging import Judging, Share
from infra.letters.letter import Fate, Letter, State, standing
from infra.letters.listing import states_text
from infra.letters.money import Worth, worth, worth_json, worth_text
from infra.letters.showing import hex_lines
from sinks.stripe.objects import Price, Tier, Transform
from tests.core.meterlog import NOW_MS, PARTITIONS, usage
from topics.bindings import Item, ItemVersion
from topics.definitions import Definition
from topics.errors import UsageError
from topics.event import Reason
from topics.home import home_of
from topics.meters import BEGINNING_S, Meter, MeterVersion, Timing, TimingVersion
from topics.quantity import ONE
from topics.windows import Window

DAY_MS = 86_400_000
METER = Meter(slug="tokens", event_type="llm.request", value="tokens")
ITEM = Item(meter="tokens", item="si_1", price="price_1", period_anchor_s=0, scale="0.001")
HOME = home_of(b"acme", PARTITIONS)


def judging(now_ms: int = NOW_MS, *more: tuple[Definition, int], horizon_ms: int = 30 * DAY_MS) -> Judging:
    """acme is billed for its tokens in thousands."""
    said: list[tuple[Definition, int]] = [
        (TimingVersion(timing=Timing(horizon_ms=horizon_ms), offset=0, digest="a"), NOW_MS - 40 * DAY_MS),
        (MeterVersion(meter=METER, valid_from_s=BEGINNING_S, offset=0, digest="a"), 0),
        (ItemVersion(customer="acme", meter="tokens", item=ITEM, valid_from_s=BEGINNING_S, offset=1, digest="b"), 0),
        *more,
    ]
    return Judging.of(PARTITIONS, now_ms, [Said(HOME, definition, at) for definition, at in said])


def letter(value: bytes | None, reason: str = "future", key: bytes | None = b"acme", received_ms: int = NOW_MS) -> Letter:
    """A dead letter of acme."""
    return Letter(HOME, 7, received_ms, received_ms, reason, "", key, value, (), "acme", "gw", "e1", "llm.request")


def event(tokens: object, time: str | None = "2026-11-20T10:00:00Z", event_type: str = "llm.request") -> bytes:
    """Usage of acme."""
    return usage("acme", "e1", time, {"tokens": tokens}, event_type)


def test_worth_is_quantity_scale_and_price() -> None:
    """1,500 tokens at 0.001 units each and 3 cents a unit are 0.045 usd, not rounded; the reason it was rejected for changes nothing."""
    for found in (letter(event(1500)), letter(event(1500), "key_mismatch", b"someone"), letter(event(1500, "2020-01-01T00:00:00Z"), "too_late")):
        shares = judging().worth(found)
        assert [(share.window.meter, share.scaled, share.item) for share in shares] == [("tokens", 1500 * ONE, ITEM)]
        value = worth([shares], {("si_1", "price_1"): Price(id="price_1", unit_amount=3)})
        assert value == Worth({"usd": Fraction(9, 2)}, {}, 0)
        assert worth_text(value) == "0.045 usd"
        assert worth_json(value) == {"money": {"usd": "0.045"}, "units": {}, "unknown": 0}


@pytest.mark.parametrize(
    "value",
    [
        None, b"", b"rubbish", event("many"), event(True), event("1e-13"), event(1, "yesterday"), event(1, event_type="other"), event(-1),
        usage("acme", "e1", None, {}, "llm.request"), usage("acme", "e1", None, {"v": 1}, "tidemark.meters"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_unknown(value: bytes | None) -> None:
    """A quantity, time or meter that the product could not read is worth nothing that could be named: unknown, and not zero."""
    shares = judging().worth(letter(value))
    assert shares == ()
    assert worth_text(worth([shares], {})) == "1 unknown"


@pytest.mark.parametrize(
    "price",
    [
        None,
        Price(id="price_1", billing_scheme="tiered", tiers=(Tier(up_to=None, unit_amount=3),)),
        Price(id="price_1", unit_amount=3, transform_quantity=Transform(divide_by=10, round="up")),
        Price(id="price_1"),
    ],
)
def test_a_price_that_depends_on_the_rest_is_units(price: Price | None) -> None:
    """With tiers, packages or a price that cannot be read the worth is in units, exact."""
    shares = judging().worth(letter(event(1500)))
    value = worth([shares, shares], {} if price is None else {("si_1", "price_1"): price})
    assert value == Worth({}, {"tokens": Fraction(3)}, 0)
    assert worth_text(value) == "3 of tokens"
    nobody = (Share(Window("beta", "tokens", 0, 3600), 5 * ONE, None),)
    assert worth_text(worth([nobody], {})) == "5 of tokens"


def test_a_verdict_is_what_the_meter_would_say_now() -> None:
    """Ahead of its time `future`, later counted, in its own window; past the horizon `too_late`, also where the horizon was raised since."""
    ahead = Record(b"acme", event(5, "2026-11-21T01:00:00Z"))
    assert judging().verdict(ahead, ()).reason == "future"
    counted = judging(NOW_MS + 3_600_000).verdict(ahead, ())
    assert counted.counts
    assert [(share.window.start_s, share.quantity) for share in counted.shares] == [(NOW_MS // 1000 + 3600, "5")]
    old = Record(b"acme", event(5, "2026-11-01T00:00:00Z"))
    assert judging().verdict(old, ()).counts
    assert judging(NOW_MS + 15 * DAY_MS).verdict(old, ()).reason == "too_late"
    raised = (TimingVersion(timing=Timing(horizon_ms=30 * DAY_MS), offset=9, digest="c"), NOW_MS - DAY_MS)
    assert judging(NOW_MS, raised, horizon_ms=5 * DAY_MS).verdict(old, ()).reason == "too_late"
    assert judging().verdict(Record(b"someone", event(5)), ()).reason == "key_mismatch"
    untimed = Record(b"acme", event(5, None))
    received = (("tidemark-received-at", b"%d" % (NOW_MS - 2 * DAY_MS)),)
    assert judging().verdict(untimed, received).shares[0].window.start_s == (NOW_MS - 2 * DAY_MS) // 3_600_000 * 3600


def test_a_letter_has_one_state() -> None:
    """A replay decides before an id of others, the one that counts before others, and only what nothing is known of waits."""
    one = letter(event(1))
    counted, again, sent, own = Fate(1, 0, 4, "counted"), Fate(1, 0, 3, "rejected", "negative"), Fate(1, 0, 9, ""), Fate(HOME, 0, 7, "")
    assert standing(one, (again, counted), (), is_gone=True) == (State.COUNTED, counted)
    assert standing(one, (again,), (counted,), is_gone=False) == (State.AGAIN, again)
    assert standing(one, (sent,), (), is_gone=False).state is State.SENT
    assert standing(one, (Fate(1, 0, 3, "duplicate"),), (), is_gone=False).state is State.DUPLICATE
    assert standing(one, (), (own, counted), is_gone=True) == (State.RESENT, counted)
    assert standing(one, (), (own,), is_gone=False).state is State.WAITING
    assert standing(one, (), (), is_gone=True).state is State.GONE
    assert states_text(Counter({State.WAITING: 2, State.GONE: 1})) == "2 waiting, 1 gone"


def test_every_reason_has_its_advice() -> None:
    """Whatever an event is rejected for, `show` says what to do about it."""
    assert set(ADVICE) == set(get_args(Reason))


def test_names_of_letters_are_read_strictly() -> None:
    """PARTITION:OFFSET and nothing else, without leading zeros afterwards."""
    assert checked_names(["2:1041", "0:07"]) == ("2:1041", "0:7")
    for name in ("x", "1", "1:", ":1", "1:2:3", "-1:2", "1:²"):
        with pytest.raises(UsageError, match="names no event"):
            checked_names([name])


def test_bytes_are_shown_as_hex_and_text() -> None:
    """Sixteen bytes a line, with what can be printed beside them."""
    assert list(hex_lines(b'{"a":"\xff\x00"}' + b"0123456789")) == [
        "00000000  7b 22 61 22 3a 22 ff 00 22 7d 30 31 32 33 34 35  |{\"a\":\"..\"}012345|",
        "00000010  36 37 38 39                                      |6789|",
    ]
