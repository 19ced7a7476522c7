"""What must be true of the archive when everything has settled: a pure copy of the log, a verdict for all that is not counted, every revision."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from fractions import Fraction

from tests.oracle.ledger import Ledger, Span
from tests.simulation.broker import Broker
from tests.simulation.clickhouse import Engine, Row
from tests.simulation.plan import PARTITIONS
from topics.catalog import EVENTS
from topics.window_total import WindowTotal


def archive(engine: Engine, broker: Broker, ledger: Ledger, latest: dict[Span, WindowTotal]) -> list[str]:
    """Every fault of the archive."""
    return [*engine.errors, *_raw(engine, broker), *_verdicts(engine, ledger), *_sums(engine, ledger), *_windows(engine, latest)]


def _raw(engine: Engine, broker: Broker) -> list[str]:
    """Byte for byte the log (law 19)."""
    found = {
        (row["kafka_partition"], row["kafka_offset"]): (_or_none(row, "customer", "key_is_null"), _or_none(row, "value", "value_is_null"))
        for row in engine.final("raw_events").values()
    }
    wanted = {
        (partition, record.offset): (record.key, record.value)
        for partition in range(PARTITIONS)
        for record in broker.logs[EVENTS, partition].committed(0)
    }
    places = sorted(wanted.keys() | found.keys())
    return [f"raw event {where}: {found.get(where)}, not {wanted.get(where)}" for where in places if found.get(where) != wanted.get(where)]


def _verdicts(engine: Engine, ledger: Ledger) -> list[str]:
    found = {(row["kafka_partition"], row["kafka_offset"]): _text(row["verdict"]) for row in engine.final("verdict_log").values()}
    wanted = {where: verdict.verdict for where, verdict in ledger.verdicts.items() if verdict.verdict not in {"counted", "control"}}
    places = sorted(wanted.keys() | found.keys())
    return [f"verdict {where}: {found.get(where)}, not {wanted.get(where)}" for where in places if found.get(where) != wanted.get(where)]


def _sums(engine: Engine, ledger: Ledger) -> list[str]:
    """What an analyst sums over counted postings, which is what `usage_events` shows."""
    judged = {(row["kafka_partition"], row["generation"], row["kafka_offset"]) for row in engine.final("verdict_log").values()}
    sums: dict[tuple[str, str], Fraction] = defaultdict(Fraction)
    for identity, row in engine.final("raw_events").items():
        if identity not in judged:
            for meter, quantity in zip(row["meters"], row["quantities"], strict=True):
                sums[_text(row["customer"]), _text(meter)] += Fraction(Decimal(quantity))
    keys = sums.keys() | ledger.sums.keys()
    places = sorted(keys)
    wanted = ledger.sums
    return [f"{key}: the archive's events sum to {sums.get(key)}, not {wanted.get(key)}" for key in places if sums.get(key) != wanted.get(key)]


def _windows(engine: Engine, latest: dict[Span, WindowTotal]) -> list[str]:
    found: dict[tuple[str, str, int, int], tuple[int, int]] = {}
    for row in engine.final("window_log").values():
        key = (_text(row["customer"]), _text(row["meter"]), _second(row["window_start"]), _second(row["window_end"]))
        found[key] = max(found.get(key, (-1, -1)), (row["generation"], row["through_offset"]))
    wanted = {(span.customer, span.meter, span.start_s, span.end_s): total.revision for span, total in latest.items()}
    places = sorted(wanted.keys() | found.keys())
    return [f"archived window {key}: revision {found.get(key)}, not {wanted.get(key)}" for key in places if found.get(key) != wanted.get(key)]


def _or_none(row: Row, column: str, is_null: str) -> bytes | None:
    return None if row[is_null] else row[column]


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _second(value: object) -> int:
    return int(value.timestamp()) if hasattr(value, "timestamp") else int(value)  # type: ignore[call-overload]
