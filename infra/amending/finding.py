"""The event that is to be amended, as the archive has it: by its id, or by its coordinate PARTITION:OFFSET.

What an amendment says is computed from what is read here; whether that is still so when it is published, the meter decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

from infra.amending.drafts import Original, Past, Share
from sinks.clickhouse.bounds import scaled_of
from sinks.clickhouse.span import query, shown
from topics.amendments import Of, Reading, read_amendment
from topics.errors import TidemarkError
from topics.event import Event, parse_event
from topics.instants import format_us
from topics.windows import Window

CANDIDATES: Final = 100
"""Records of one id that are looked at: more copies than that of one id are a producer's fault that a person looks at by coordinate."""
_COORDINATE = re.compile(r"(?:(\d{1,9}):)?(\d{1,9}):(\d{1,18})", re.ASCII)


class Reader(Protocol):
    """Asks ClickHouse; `sinks.clickhouse.client.ClickHouse` is one."""

    def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Rows of a query; strings as bytes."""
        ...


def find(reader: Reader, name: str, customer: str = "", source: str = "") -> Original:
    """The record that `name` means: an event's id (of a `customer`, a `source`, where those are given), else [GENERATION:]PARTITION:OFFSET.

    Of an id it is the record that was counted, where one was. Raises TidemarkError where there is none, or where several are meant, with all of
    them.
    """
    narrowed = {"customer": customer, "source": source, "limit": CANDIDATES}
    found = reader.rows(query("event_found"), {**narrowed, "event_id": name, "partition": -1, "offset": 0})
    coordinate = _COORDINATE.fullmatch(name)
    if not found and coordinate is not None:
        generation, partition, offset = coordinate.groups()
        place = {"event_id": "", "partition": int(partition), "offset": int(offset)}
        found = [row for row in reader.rows(query("event_found"), {**narrowed, **place}) if generation in {None, str(row[0])}]
    originals = [_original(row) for row in found]
    counted = [one for one in originals if one.verdict == "counted"]
    meant = counted or [one for one in originals if one.verdict != "rerouted"] or originals
    if not meant:
        narrow = "".join(f" of {what} {which!r}" for what, which in (("customer", customer), ("source", source)) if which)
        raise TidemarkError(f"the archive has no event {name!r}{narrow} (yet): `tidemark settle` waits until everything is archived")
    if len(counted) > 1 or len({(one.customer, one.of.source) for one in meant}) > 1:
        raise TidemarkError(f"{name!r} is the name of several events; say which with --customer, --source, or by coordinate:\n{_listed(meant)}")
    return _with_history(reader, meant[0])


def _listed(originals: Iterable[Original]) -> str:
    return "\n".join(
        f"{one.of.generation}:{one.of.partition}:{one.of.offset} {one.verdict}, customer {one.customer!r}, source {one.of.source!r}, "
        f"{format_us(one.occurred_at_us)}"
        for one in originals
    )


def _original(row: tuple[Any, ...]) -> Original:
    generation, partition, offset, customer, event_id, source, type_, occurred_at_us, received_at_ms, verdict, sentence, *postings = row
    shares = [
        Share(Window(shown(customer), shown(meter), start_ms // 1000, end_ms // 1000), scaled_of(quantity), scaled_of(quantity))
        for meter, quantity, start_ms, end_ms in zip(*postings, strict=True)
    ]
    return Original(
        of=Of(source=shown(source), id=shown(event_id), partition=partition, generation=generation, offset=offset),
        customer=shown(customer),
        type=shown(type_),
        occurred_at_us=occurred_at_us,
        received_at_ms=received_at_ms,
        verdict=shown(verdict),
        sentence=shown(sentence),
        shares=tuple(shares),
    )


def _with_history(reader: Reader, original: Original) -> Original:
    """With the amendments of it that act, and what it counts after them."""
    of = original.of
    asked = {"customer": original.customer, "occurred_at_us": original.occurred_at_us, "generation": of.generation, "offset": of.offset}
    added: dict[Window, int] = {}
    history: list[Past] = []
    for value, received_at_ms in reader.rows(query("event_amendments"), asked):
        reading = _reading(value)
        if reading is None or reading.record.kind == "accept":
            continue
        for window, scaled in reading.postings:
            added[window] = added.get(window, 0) + scaled
        record = reading.record
        history.append(Past(record.kind, record.who, record.reason, received_at_ms, reading.digest))
    shares = tuple(share._replace(now_scaled=share.was_scaled + added.get(share.window, 0)) for share in original.shares)
    return original._replace(shares=shares, history=tuple(history))


def _reading(value: bytes) -> Reading | None:
    event = parse_event(value)
    reading = read_amendment(event) if isinstance(event, Event) else ""
    return None if isinstance(reading, str) else reading
