"""Dead letters by reason, with their states and what the waiting ones are worth; and one by one. Reads only."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from infra.clock import now_ms
from infra.letters.advice import advice
from infra.letters.archive import LetterArchive, Selection
from infra.letters.judging import Judging, Share
from infra.letters.letter import Letter, Standing, State
from infra.letters.money import Worth, prices, worth, worth_json, worth_text
from infra.letters.plan import Known, state_sentence
from topics.instants import US_PER_MS, format_us

if TYPE_CHECKING:
    from infra.settings import Settings
    from sinks.clickhouse.client import ClickHouse


class Seen(NamedTuple):
    """A letter, what became of it, and what it would have counted (nothing where that cannot be read)."""

    letter: Letter
    standing: Standing
    shares: tuple[Share, ...]


@dataclass
class Reason:
    """All letters of one reason."""

    reason: str
    states: Counter[State] = field(default_factory=Counter)
    customers: set[str] = field(default_factory=set)
    waiting: list[tuple[Share, ...]] = field(default_factory=list)
    first_ms: int = 0
    last_ms: int = 0
    example: str = ""
    newest: str = ""

    def take(self, seen: Seen) -> None:
        """One more; they come oldest first."""
        letter = seen.letter
        self.first_ms = self.first_ms or letter.received_at_ms
        self.last_ms, self.newest, self.example = letter.received_at_ms, letter.name, letter.sentence
        self.states[seen.standing.state] += 1
        self.customers.add(letter.customer)
        if seen.standing.state is State.WAITING:
            self.waiting.append(seen.shares)


class Summary(NamedTuple):
    """By reason, each with what its waiting letters are worth; `unpriced` says why a price could not be read ("": all were, or none was asked)."""

    reasons: list[tuple[Reason, Worth]]
    unpriced: str


def look(clickhouse: ClickHouse, partitions: int, selection: Selection) -> Iterator[Seen]:
    """Every letter of a selection, the oldest first, as the archive knows it."""
    archive = LetterArchive(clickhouse)
    judging = Judging.of(partitions, now_ms(), archive.definitions())
    archived_to = archive.archived_to()
    known: Known | None = None
    for page in archive.pages(selection):
        if known is None:
            known = Known(archive.replays(page[0].received_at_ms), archive.gone(selection))
        known.tail |= {letter.coordinate for letter in page if letter.offset >= archived_to.get(letter.partition, 0)}
        same = archive.same_ids(letter.id for letter in page if letter.id is not None)
        for letter in page:
            yield Seen(letter, known.standing(letter, same), judging.worth(letter))


def summary(settings: Settings, clickhouse: ClickHouse, selection: Selection, *, money: bool) -> Summary:
    """By reason, the most letters first. `money` False asks no provider."""
    found: dict[str, Reason] = {}
    for seen in look(clickhouse, settings.kafka.partitions, selection):
        found.setdefault(seen.letter.reason, Reason(seen.letter.reason)).take(seen)
    shares = [share for reason in found.values() for each in reason.waiting for share in each]
    known, unpriced = prices(settings, shares) if money else ({}, "")
    ordered = sorted(found.values(), key=lambda reason: (-reason.states.total(), reason.reason))
    return Summary([(reason, worth(reason.waiting, known)) for reason in ordered], unpriced)


def reason_json(reason: Reason, value: Worth) -> dict[str, Any]:
    """For programs."""
    return {
        "reason": reason.reason,
        "events": reason.states.total(),
        "customers": len(reason.customers),
        "states": {state.value: reason.states[state] for state in State},
        "waiting_worth": worth_json(value),
        "first": format_us(reason.first_ms * US_PER_MS),
        "last": format_us(reason.last_ms * US_PER_MS),
        "example": reason.example,
        "newest": reason.newest,
        "advice": advice(reason.reason),
    }


def seen_json(seen: Seen) -> dict[str, Any]:
    """One letter without its bytes, for programs."""
    letter = seen.letter
    return {
        "id": letter.name,
        "reason": letter.reason,
        "customer": letter.customer,
        "source": letter.source,
        "event_id": letter.event_id,
        "type": letter.type,
        "received_at": format_us(letter.received_at_ms * US_PER_MS),
        "state": seen.standing.state.value,
        "state_says": state_sentence(seen.standing),
        "would_have_counted": shares_json(seen.shares) or None,
        "sentence": letter.sentence,
    }


def shares_json(shares: tuple[Share, ...]) -> list[dict[str, Any]]:
    """What a letter counts, or would: by meter and window."""
    return [
        {
            "customer": share.window.customer,
            "meter": share.window.meter,
            "start": format_us(share.window.start_s * 1_000_000),
            "end": format_us(share.window.end_s * 1_000_000),
            "quantity": share.quantity,
        }
        for share in shares
    ]


def states_text(states: Counter[State]) -> str:
    """`12 waiting, 3 counted`."""
    return ", ".join(f"{states[state]} {state.value}" for state in State if states[state])


def totals(found: Summary) -> tuple[int, Worth]:
    """How many letters wait, and what they are worth together."""
    waiting = sum(reason.states[State.WAITING] for reason, _ in found.reasons)
    money: dict[str, Any] = defaultdict(int)
    units: dict[str, Any] = defaultdict(int)
    unknown = 0
    for _, value in found.reasons:
        unknown += value.unknown
        for currency, amount in value.money.items():
            money[currency] += amount
        for meter, amount in value.units.items():
            units[meter] += amount
    return waiting, Worth(dict(money), dict(units), unknown)


__all__ = [
    "Reason", "Seen", "Summary", "look", "reason_json", "seen_json", "shares_json", "states_text", "summary", "totals", "worth_text",
]  # fmt: skip
