"""Reconcile on the real engine and the sandbox's own billing, over a fortnight in which everything went well, with Kafka gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.embedded.testing import engine_server, unique
from infra.reconciling.archive import Archive
from infra.reconciling.asking import Answers, Asked, Asking
from infra.reconciling.drift import Coordinate, Drift
from infra.reconciling.find import find
from infra.reconciling.following import Following
from infra.reconciling.found import Found
from infra.reconciling.run import reconcile
from infra.reconciling.sources import Order, Sources
from infra.reconciling.suspects import Suspects
from sinks.clickhouse.client import ClickHouse
from sinks.readback import Summary
from sinks.stripe.access import Eras
from sinks.stripe.request import event_summaries_path
from tests.contract.archive_engine import archive_at
from tests.drift.plan import EDGE_S, HOUR_S, Used, plan_of
from tests.drift.world import World
from tests.simulation.year.shop import MODERN, Access
from topics.quantity import parse_total
from topics.receipt import decode_receipt

SEED = 5


class Reading(Access):
    """The sandbox, with a meter's totals read exactly."""

    def event_summaries(self, event_name: str, customer: str, grouping: str, start_s: int, end_s: int) -> list[Summary]:
        """As StripeAccess does."""
        meter = next(row["id"] for row in self.pages("/v1/billing/meters") if row["event_name"] == event_name)
        asked = {"customer": customer, "start_time": start_s, "end_time": end_s, "value_grouping_window": grouping}
        rows = Access(self._shop, MODERN).pages(event_summaries_path(meter), **asked)
        return [Summary(row["start_time"], row["end_time"], parse_total(str(row["aggregated_value"]).removesuffix(".0"))) for row in rows]


def eras(world: World) -> Eras:
    """Both eras of the account."""
    return Eras(Reading(world.shop), Access(world.shop, MODERN))


def reconciled(world: World, order: Order | None = None, asking: Asking | None = None) -> Found:
    """A run without Kafka."""
    return reconcile(Sources(Archive(world.clickhouse), asking or Asking(eras(world)), world.now_ms), order or Order())


def said(drifts: list[Drift]) -> list[tuple[str, str, str]]:
    """What a failure shows."""
    return [(drift.kind, drift.customer, drift.sentence) for drift in drifts]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One engine; each test has a database of its own."""
    with engine_server(tmp_path_factory.mktemp("engine")) as server:
        yield server.url


@pytest.fixture
def world(engine: str, tmp_path: Path) -> Iterator[World]:
    """A fortnight of five sorts of meters; the second period runs."""
    found = World(plan_of(SEED), tmp_path, archive_at(engine, unique("reconcile").replace("-", "_")))
    found.live()
    yield found
    found.close()


def test_an_honest_fortnight_is_clean(world: World) -> None:
    """Late events, duplicates, rejected ones, ledgers, meters, final invoices: nothing is found, and everything was looked at."""
    found = reconciled(world)
    assert said(found.drifts) == []
    assert found.problems == []
    assert found.checked["windows"] == found.coverage.states["delivered"] == sum(found.coverage.states.values())
    assert min(found.checked[name] for name in ("revisions", "cells", "totals", "lines")) > 0
    final = [row for row in found.periods if row.end_s == EDGE_S and "line" in row.numbers]
    assert len(final) == sum(len(person.meters) for person in world.plan.people)


class NoKafka(Following):
    """Kafka that does not answer."""

    def __init__(self) -> None:
        super().__init__("")

    def reach(self) -> None:
        """Nothing is known."""
        return


def test_without_kafka_all_is_looked_at_once_everything_is_silent(world: World) -> None:
    """Kafka that does not answer leaves something unchecked (exit code 4) while a partition had records of late, and nothing months later."""

    def run(now_ms: int) -> Found:
        return reconcile(Sources(Archive(world.clickhouse), Asking(eras(world)), now_ms, NoKafka()), Order())

    of_late, later = run(world.now_ms - 6 * HOUR_S * 1000), run(world.now_ms)
    assert (of_late.exit_code, len(of_late.problems)) == (4, 1)
    assert (later.exit_code, later.problems) == (0, [])


def test_receipts_without_their_record(world: World) -> None:
    """Rows that were archived before the record was kept are read from their columns, and are as clean; those that have it give it back exactly."""
    rows = world.clickhouse.rows("SELECT record, cell FROM receipt_log WHERE kind = 'cell'")
    assert {decode_receipt(record, "row").cell for record, _ in rows} == {cell.decode() for _, cell in rows}
    world.clickhouse.command("ALTER TABLE receipt_log UPDATE record = '' WHERE 1 SETTINGS mutations_sync = 1")
    assert said(reconciled(world).drifts) == []


def test_only_what_was_ordered(world: World) -> None:
    """One customer, one meter, one period: the books hold whole billing periods of it, and nothing else."""
    person = world.plan.people[0]
    found = reconciled(world, Order(customer=person.name, meter="calls", from_s=EDGE_S + HOUR_S))
    assert {(row.customer, row.meter, row.start_s) for row in found.periods} == {(person.name, "calls", EDGE_S)}
    assert said(found.drifts) == []


def test_broken_rows_are_found_where_they_are(world: World) -> None:
    """A raw event that is gone, a window that vanished and a receipt that vanished are three drifts of three windows, whatever the provider says."""
    asked = "SELECT DISTINCT customer, window_start FROM window_log WHERE meter = 'calls' ORDER BY customer, window_start LIMIT 3"
    windows = world.clickhouse.rows(asked)
    gone, vanished, unreceipted = [(row[0].decode(), int(row[1].timestamp())) for row in windows]
    within = f"customer = '{gone[0]}' AND meter = 'calls' AND window_start = toDateTime({gone[1]}) AND verdict = 'counted'"
    partition, offset = world.clickhouse.rows(f"SELECT kafka_partition, kafka_offset FROM usage_events WHERE {within} ORDER BY 1, 2 LIMIT 1")[0]
    _run(
        world.clickhouse,
        f"ALTER TABLE raw_events DELETE WHERE kafka_partition = {partition} AND kafka_offset = {offset}",
        f"ALTER TABLE window_log DELETE WHERE customer = '{vanished[0]}' AND meter = 'calls' AND window_start = toDateTime({vanished[1]})",
        f"ALTER TABLE receipt_log DELETE WHERE customer = '{unreceipted[0]}' AND meter = 'calls' AND window_starts = [toDateTime({unreceipted[1]})]",
    )
    archive = Archive(world.clickhouse)
    sources = Sources(archive, Asking(eras(world)), world.now_ms, suspects=Suspects(archive, world.clickhouse, None))
    found = reconcile(sources, Order()).drifts
    assert {(drift.kind, drift.customer, drift.window.start_s) for drift in found if drift.window is not None} == {
        ("raw_event", *gone),
        ("missing_window", *vanished),
        ("lost_report", *unreceipted),
    }, said(found)
    assert len(found) == 3
    assert next(drift.events for drift in found if drift.kind == "raw_event") == (Coordinate(partition, 0, offset),)


def test_a_lost_record_that_was_not_counted(world: World) -> None:
    """A duplicate's raw row that is gone is in no total, and is found by its hole in the offsets."""
    asked = "SELECT kafka_partition, kafka_offset FROM usage_events WHERE verdict = 'duplicate' ORDER BY 1, 2 LIMIT 1"
    partition, offset = world.clickhouse.rows(asked)[0]
    _run(world.clickhouse, f"ALTER TABLE raw_events DELETE WHERE kafka_partition = {partition} AND kafka_offset = {offset}")
    found = reconciled(world).drifts
    assert [(drift.kind, drift.window, drift.events) for drift in found] == [("raw_event", None, (Coordinate(partition, 0, offset),))]


def _run(clickhouse: ClickHouse, *statements: str) -> None:
    for statement in statements:
        clickhouse.command(f"{statement} SETTINGS mutations_sync = 1")


class Meanwhile(Asking):
    """An account whose customers go on while it is read: `happens` after (or before) each answer."""

    def __init__(self, world: World, *, after: bool) -> None:
        super().__init__(eras(world))
        self._world = world
        self._after = after
        self._number = 0

    def ask(self, asked: Asked) -> Answers:
        """Asks, and something is used, delivered and archived beside it."""
        if self._after:
            answers = super().ask(asked)
            self._happens()
            return answers
        self._happens()
        return super().ask(asked)

    def _happens(self) -> None:
        world, now_s = self._world, self._world.now_ms // 1000
        for person in world.plan.people:
            for meter in person.meters:
                self._number += 1
                world.send(Used(now_s, person.name, meter, f"meanwhile-{self._number}", now_s - 2 * HOUR_S, "7"))
        world.rest()


@pytest.mark.parametrize("after", [False, True])
def test_what_happens_meanwhile_is_no_drift(world: World, after: bool) -> None:
    """Usage that is counted, delivered and archived between two questions of a run looks like no drift, in whichever order it comes."""
    sources = Sources(Archive(world.clickhouse), Meanwhile(world, after=after), world.now_ms)
    found = [drift for books in sources.books(Order()) for drift in find(books)]
    assert said(found) == []
