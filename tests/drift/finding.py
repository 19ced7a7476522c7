"""`reconcile` on a seeded account, in this process: the product's own books, finders and repairs, over the sandbox's engine and the real archive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from infra.adjusting import settlement
from infra.control import ControlEvent, settle_event
from infra.reconciling.applying import Done, Wanted, apply, steps_of
from infra.reconciling.archive import Archive
from infra.reconciling.asking import Asking
from infra.reconciling.books import Books
from infra.reconciling.drift import Drift
from infra.reconciling.find import find
from infra.reconciling.repairs import propose
from infra.reconciling.sources import Order, Sources
from infra.reconciling.steps import Proposal, Step
from sinks.clickhouse.rows import RawRecord
from sinks.outcomes import RetryAfter
from sinks.readback import Summary
from sinks.stripe.access import Eras
from sinks.stripe.adjusting import listed
from sinks.stripe.refusal import StripeRefusal
from tests.drift.plan import HOUR_S
from tests.drift.world import PARTITIONS, World
from tests.simulation.year.shop import LEGACY, MODERN, Access, Refused
from topics.batch import Headers
from topics.catalog import WINDOWS
from topics.home import home_of

REST_HOURS = 7
"""After a repair nothing happens for longer than a partition must be silent before what is missing counts as missing."""
Found = list[tuple[Books, list[Drift]]]


class Reading(Access):
    """The account, as `reconcile` reads it: a meter's totals exactly."""

    def __init__(self, world: World, version: str) -> None:
        super().__init__(world.shop, version)
        self._world = world

    def pages(self, path: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """All rows; what Stripe refuses, as the production client says it."""
        try:
            yield from super().pages(path, **parameters)
        except Refused as error:
            raise StripeRefusal(error.status, error.code, str(error)) from None

    def event_summaries(self, event_name: str, customer: str, grouping: str, start_s: int, end_s: int) -> list[Summary] | RetryAfter:
        """A customer's usage of a meter by UTC hours or days."""
        return self._world.delivering[0].events_read(event_name, customer, grouping, start_s, end_s)


def books_of(world: World) -> list[Books]:
    """Everybody's books."""
    asking = Asking(Eras(Reading(world, LEGACY), Reading(world, MODERN)))
    sources = Sources(Archive(world.clickhouse), asking, world.now_ms)
    books = list(sources.books(Order()))
    assert sources.said.problems == [], sources.said.problems
    return books


def reconcile(world: World) -> Found:
    """Everybody's books, and what is wrong with them."""
    return [(books, find(books)) for books in books_of(world)]


def drifts_of(found: Found) -> list[Drift]:
    """All of what was found."""
    return [drift for _, drifts in found for drift in drifts]


class WorldLog:
    """`infra.reconciling.applying.Log` on the seeded account."""

    def __init__(self, world: World) -> None:
        self._world = world

    def home(self, customer: str) -> int:
        """See Log."""
        return home_of(customer.encode(), PARTITIONS)

    def events(self, partition: int, generation: int, first: int, last: int, wanted: Wanted) -> list[RawRecord]:
        """See Log."""
        assert generation == 0
        records = [each for each in self._world.counting[partition].log.records[first : last + 1] if wanted(each.offset, each.key)]
        return [RawRecord(record.offset, record.timestamp_ms, record.key, record.value, record.headers) for record in records]

    def windows(self, partition: int, key: bytes) -> list[tuple[int, bytes, Headers]]:
        """See Log."""
        records = self._world.counting[partition].logs[WINDOWS].records
        return [(record.offset, record.value or b"", record.headers) for record in records if record.key == key]

    def publish(self, events: Sequence[ControlEvent]) -> None:
        """See Log."""
        for event in events:
            self._world.append(event)


def proposals_of(found: Found) -> list[Proposal]:
    """What `--repair` proposes for all of it."""
    return [proposal for books, drifts in found for proposal in propose(books, drifts, "a test", books.now_ms)]


def repair(world: World, found: Found, *, dies_after: int | None = None) -> list[Done]:
    """`reconcile --repair --apply` of what was just found; `dies_after`: so many steps, and the process is gone."""
    steps: list[Step] = steps_of(proposals_of(found))
    return apply(steps[:dies_after], WorldLog(world), world.clickhouse)


def settle_adjustments(world: World) -> int:
    """A person runs `tidemark adjustments settle … --all` for everything that is open; how many those are."""
    rows = listed([cell for report in world.delivering for cell in report.cells()], {})
    open_ = [row for row in rows if row.is_open]
    for row in open_:
        customer, record = settlement(rows, row.id, None, "billed by hand")
        world.append(settle_event(customer, record))
    return len(open_)


def rest(world: World) -> None:
    """Everything that was written is taken, delivered and archived, and a while passes."""
    for _ in range(4):
        world.go_to(world.shop.clock.at_s + 60)
    world.go_to(world.shop.clock.at_s + REST_HOURS * HOUR_S)
    world.archiving.follow()


def documents(drifts: Sequence[Drift]) -> list[dict[str, Any]]:
    """For a program."""
    return [drift.document() for drift in drifts]
