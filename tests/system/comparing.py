"""Everything the product shows, compared with the oracle's account of the same log."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import Any

from tests.oracle.ledger import Ledger, Span, cells
from tests.oracle.reading import Stored, plain
from tests.system import wire
from tests.system.world import PARTITIONS, World

FATES = ("counted", "duplicate", "rejected", "too_late", "rerouted", "control")
COORDINATE = "toInt64(kafka_partition) AS p, toInt64(kafka_offset) AS o"


def assert_all_agree(world: World) -> Ledger:
    """Closes all windows, waits until everything is delivered and archived, and holds every surface against the oracle."""
    status = world.command.json("settle", "--close", "--timeout", "240")
    log = wire.read_log(world.bootstrap, wire.EVENTS)
    ledger = world.ledger(log)
    nothing_sent_is_missing(world, log, ledger)
    conservation(status, log, ledger)
    spoken = totals_on_the_wire(world, ledger)
    totals_in_clickhouse(world, ledger)
    events_in_clickhouse(world, ledger)
    rejected_are_kept(world, log, ledger)
    cells_at_the_provider(world, ledger, spoken)
    windows_by_state(world, ledger, status)
    return ledger


def nothing_sent_is_missing(world: World, log: wire.Log, ledger: Ledger) -> None:
    """Every acknowledged record stands in the log as it was sent, and every good event of ours is counted."""
    held = {(record.partition, record.offset): record for record in log.records}
    counted = {event_id for _, _, event_id in ledger.seen}
    for message, partition, offset in world.acked:
        record = held[partition, offset]
        assert (record.key, record.value) == (message.key, message.value)
        if message.label == "usage":
            assert json.loads(message.value)["id"] in counted


def conservation(status: dict[str, Any], log: wire.Log, ledger: Ledger) -> None:
    """Each offset has exactly one fate, the one the oracle says, and is archived."""
    assert status["settled"] is True
    assert [line["partition"] for line in status["partitions"]] == list(range(PARTITIONS))
    visible = Counter(record.partition for record in log.records)
    for line in status["partitions"]:
        partition = line["partition"]
        said = ledger.counters(partition)
        assert {fate: line[fate] for fate in FATES} == {fate: said[fate] for fate in FATES}, f"partition {partition}"
        assert line["residual"] == 0
        assert line["next_offset"] == line["end_offset"] == line["archived_offset"] == log.ends[partition]
        assert line["skipped"] == log.ends[partition] - line["base"] - visible[partition]


def totals_on_the_wire(world: World, ledger: Ledger) -> dict[tuple[str, str], set[str]]:
    """On `usage.windows` a revision names one total for ever, and the greatest revision of each window is the oracle's.

    All totals that any revision had, by customer and meter.
    """
    spoken: dict[tuple[str, str], set[str]] = defaultdict(set)
    bodies: dict[tuple[bytes | None, int, int], bytes | None] = {}
    newest: dict[bytes | None, tuple[int, int]] = {}
    for record in wire.read_log(world.bootstrap, "usage.windows").records:
        total = json.loads(record.value or b"")
        revision = (total["generation"], total["through_offset"])
        assert bodies.setdefault((record.key, *revision), record.value) == record.value, "one revision, two totals"
        newest[record.key] = max(revision, newest.get(record.key, revision))
        spoken[total["customer"], total["meter"]].add(total["quantity"])
    shown = {}
    for key, revision in newest.items():
        total = json.loads(bodies[key, *revision] or b"")
        shown[total["customer"], total["meter"], total["start"]] = (total["quantity"], total["events"], total["hash"])
    expected = {(span.customer, span.meter, _iso(span.start_s)): (plain(t.quantity), t.events, t.hash) for span, t in ledger.totals.items()}
    assert shown == expected
    return spoken


def _iso(instant_s: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(instant_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def totals_in_clickhouse(world: World, ledger: Ledger) -> None:
    """The view of totals, and the totals counted again from the raw events with their hashes, are the oracle's."""
    expected = {span: (plain(t.quantity), t.events, t.hash) for span, t in ledger.totals.items()}
    for view in ("window_totals", "window_recount"):
        rows = world.rows(
            "SELECT customer, meter, toInt64(toUnixTimestamp(window_start)) AS s, toInt64(toUnixTimestamp(window_end)) AS e, "
            f"toString(quantity) AS q, toInt64(events) AS n, hash FROM {view}"
        )
        shown = {Span(row["customer"], row["meter"], int(row["s"]), int(row["e"])): (row["q"], int(row["n"]), row["hash"]) for row in rows}
        assert shown == expected, view
        assert len(rows) == len(shown), view


def events_in_clickhouse(world: World, ledger: Ledger) -> None:
    """`usage_events` shows each event once a meter with the oracle's verdict, and sums up to the oracle's totals."""
    rows = world.rows(f"SELECT {COORDINATE}, any(verdict) AS v, any(reason) AS r FROM usage_events GROUP BY p, o")
    shown = {(int(row["p"]), int(row["o"])): (row["v"], row["r"]) for row in rows}
    wanted = {"counted", "duplicate", "rejected", "too_late"}
    expected = {where: (each.verdict, each.reason) for where, each in ledger.verdicts.items() if each.verdict in wanted}
    assert shown == expected
    counted = "FROM usage_events WHERE verdict = 'counted' GROUP BY customer, meter"
    rows = world.rows(f"SELECT customer, meter, toString(sum(quantity)) AS q {counted}")
    assert {(row["customer"], row["meter"]): row["q"] for row in rows} == {where: plain(total) for where, total in ledger.sums.items()}
    broken = world.rows("SELECT * FROM integrity WHERE residual != 0 OR counted_missing != 0 OR rejected_missing != 0 OR postings_missing != 0")
    assert broken == []


def rejected_are_kept(world: World, log: wire.Log, ledger: Ledger) -> None:
    """Each refused event lies in `usage.rejected` and its view with its exact key, bytes and headers, its reason and a sentence."""
    held = {(record.partition, record.offset): record for record in log.records}
    expected = ledger.refused()
    shown: dict[tuple[int, int], str] = {}
    for record in wire.read_log(world.bootstrap, "usage.rejected").records:
        said = dict(record.headers)
        where = (_number(said, "partition"), _number(said, "offset"))
        shown[where] = (said["reason"] or b"").decode()
        original = held[where]
        assert (record.key, record.value) == (original.key, original.value)
        assert record.headers[: len(original.headers)] == original.headers
        assert said["tidemark-rejected-topic"] == b"usage.events"
        assert said["tidemark-rejected-sentence"]
        assert _number(said, "received-at") == _received_ms(original)
    assert shown == expected
    rows = world.rows(f"SELECT {COORDINATE}, reason, hex(value) AS v, key_is_null AS k FROM rejected_events")
    assert {(int(row["p"]), int(row["o"])): row["reason"] for row in rows} == expected
    for row in rows:
        original = held[int(row["p"]), int(row["o"])]
        assert bytes.fromhex(row["v"]) == (original.value or b"")
        assert bool(row["k"]) == (original.key is None)


def _number(headers: dict[str, bytes | None], name: str) -> int:
    return int(headers[f"tidemark-rejected-{name}"] or b"")


def _received_ms(record: Stored) -> int:
    return record.header_number("tidemark-received-at") or record.timestamp_ms


def cells_at_the_provider(world: World, ledger: Ledger, spoken: dict[tuple[str, str], set[str]]) -> None:
    """Each item holds one cell for each of its windows and nothing else, and Stripe's own summary is their sum; no key was used twice.

    Where a total became a fraction or negative, an earlier revision of it may still stand, and the archive says the same.
    """
    provider = world.provider
    expected = cells(ledger.totals, world.bound)
    rows = world.rows("SELECT customer, meter, toString(sum(delivered)) AS q FROM coverage GROUP BY customer, meter")
    delivered = {(row["customer"], row["meter"]): row["q"] for row in rows}
    for where, bound in world.bound.items():
        stands = provider.cells(bound.item)
        earlier = {second: stands.pop(second) for second in expected.open[bound.item] if second in stands}
        assert stands == expected.units[bound.item], where
        assert {str(units) for units in earlier.values()} <= spoken[where], where
        everything = sum(stands.values()) + sum(earlier.values())
        assert provider.usage(bound.item) == everything, where
        assert delivered.get(where, "0") == str(everything), where
    assert provider.control("calls")["idempotency_errors"] == 0


def windows_by_state(world: World, ledger: Ledger, status: dict[str, Any]) -> None:
    """The status and the archive know each window in the same one state."""
    delivered = len(cells(ledger.totals, world.bound).windows)
    unbound = sum((span.customer, span.meter) not in world.bound for span in ledger.totals)
    parked = len(ledger.totals) - delivered - unbound
    assert status["windows"] == {"open": 0, "due": 0, "delivered": delivered, "undelivered": 0, "parked": parked, "unbound": unbound}
    rows = world.rows("SELECT state, toInt64(count()) AS n FROM coverage GROUP BY state")
    shown = {row["state"]: int(row["n"]) for row in rows}
    assert shown == {state: count for state, count in {"delivered": delivered, "parked": parked, "unbound": unbound}.items() if count}
