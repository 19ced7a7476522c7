"""What a record means, but for duplicates: rejected, re-routed, control, or usage with its postings. Pure, per record, the reference.

The meter's columnar path (`streams/columns.py`) must give the same for every record, and hands it every record that is not plain;
the archive uses `postings_of` to write what each raw event selects.
"""

from __future__ import annotations

from typing import NamedTuple

from topics.batch import Headers
from topics.definitions import Definitions
from topics.event import CONTROL_PREFIX, MAX_EVENT_BYTES, Event, Rejection, parse_event, size_bytes
from topics.home import home_of
from topics.instants import US_PER_MS, US_PER_S, format_us, parse_us
from topics.meters import COUNT, Meter
from topics.origin import origin_of
from topics.quantity import ONE, BadQuantity, OutOfRange, format_scaled, parse
from topics.windows import Window


class Posting(NamedTuple):
    """One meter's share of an event: quantity × 10¹² into a window."""

    window: Window
    scaled: int


class Usage(NamedTuple):
    """An event that counts unless its id was counted before."""

    event: Event
    occurred_at_us: int
    received_at_ms: int
    postings: tuple[Posting, ...]


class Rerouted(NamedTuple):
    """An event that belongs to another partition."""

    event: Event
    home: int
    received_at_ms: int


class Control(NamedTuple):
    """A control record of ours; the fold reads its data."""

    event: Event


class Setting(NamedTuple):
    """What a record's meaning depends on beside its bytes: where it lies, the log's now, what is final, what is in force."""

    partition: int
    partitions: int
    now_ms: int
    final_until_us: int
    definitions: Definitions


Judgement = Rejection | Rerouted | Control | Usage


def judge(key: bytes | None, value: bytes | None, headers: Headers, timestamp_ms: int, setting: Setting) -> Judgement:
    """The meaning of one record; reasons in the order of SURFACES, the first one wins."""
    if (size := size_bytes(key, value, headers)) > MAX_EVENT_BYTES:
        return Rejection("too_large", f"key, value and headers are {size} bytes; at most {MAX_EVENT_BYTES} are taken")
    event = parse_event(value)
    if isinstance(event, Rejection):
        return event
    if event.type.startswith(CONTROL_PREFIX):
        return Control(event)
    if key is None or key != event.subject.encode():
        shown = "no key" if key is None else repr(key[:60])
        return Rejection("key_mismatch", f"the record's key is {shown}, its subject {event.subject[:60]!r}; the key must be the customer", event)
    origin = origin_of(headers, timestamp_ms)
    home = home_of(key, setting.partitions)
    if home != setting.partition:
        if origin.partition is not None:
            return Rejection("routing_loop", f"re-sent from partition {origin.partition} to {setting.partition}, but its home is {home}", event)
        return Rerouted(event, home, origin.received_at_ms)
    time = setting.definitions.time_of(event.subject, origin.received_at_ms, setting.now_ms, setting.final_until_us)
    occurred_at_us = occurred_at(event, time.received_at_ms)
    if isinstance(occurred_at_us, Rejection):
        return occurred_at_us
    if occurred_at_us > time.future_from_us:
        return Rejection("future", _too_far(event, setting), event)
    if occurred_at_us < time.final_until_us:
        return Rejection("too_late", f"{format_us(occurred_at_us)} is before {format_us(time.final_until_us)}, up to there all is final", event)
    postings = postings_of(event, occurred_at_us, setting.definitions)
    if isinstance(postings, Rejection):
        return postings
    return Usage(event, occurred_at_us, origin.received_at_ms, postings)


def _too_far(event: Event, setting: Setting) -> str:
    clock = setting.definitions.clock_of(event.subject)
    if clock is None:
        return f"time {event.time} is more than {setting.definitions.timing.future_ms} ms ahead of the log"
    return f"time {event.time} is more than {clock.future_ms} ms ahead of test clock {clock.clock}, which shows {format_us(clock.now_s * US_PER_S)}"


def occurred_at(event: Event, received_at_ms: int) -> int | Rejection:
    """Microseconds of the event's `time`; without one, when it was received."""
    if event.time is None:
        return received_at_ms * US_PER_MS
    occurred_at_us = parse_us(event.time)
    if occurred_at_us is None:
        return Rejection("bad_time", f"time {event.time[:60]!r} is no RFC 3339 instant with a zone", event)
    return occurred_at_us


def postings_of(event: Event, occurred_at_us: int, definitions: Definitions) -> tuple[Posting, ...] | Rejection:
    """All postings of an event, or why it is rejected whole: an event is never counted by half (H18)."""
    instant_s = occurred_at_us // US_PER_S
    meters = selected(event, instant_s, definitions)
    if not meters:
        return Rejection("no_meter", f"no meter takes events of type {event.type[:80]!r} with this data", event)
    found: list[Posting] = []
    faults: list[Rejection] = []
    for meter in meters:
        scaled = scaled_quantity(event, meter)
        if isinstance(scaled, Rejection):
            faults.append(scaled)
        else:
            found.append(Posting(definitions.window_of(event.subject, meter, instant_s), scaled))
    if faults:
        return min(faults, key=lambda fault: _RANK[fault.reason])
    return tuple(found)


_RANK = {"missing_field": 0, "bad_quantity": 1, "out_of_range": 2, "negative": 3}


def selected(event: Event, instant_s: int, definitions: Definitions) -> list[Meter]:
    """The meters whose version at the instant takes the event, by slug."""
    meters = (definitions.meter_at(slug, instant_s) for slug in definitions.by_type.get(event.type, ()))
    return [meter for meter in meters if meter is not None and meter.event_type == event.type and _has(event.data, meter)]


def _has(data: object, meter: Meter) -> bool:
    if not meter.where:
        return True
    if not isinstance(data, dict):
        return False
    # type() and not isinstance: in JSON `true` is not 1
    return all(type(data.get(name)) is type(wanted) and data[name] == wanted for name, wanted in meter.where.items())


def scaled_quantity(event: Event, meter: Meter) -> int | Rejection:
    """The event's quantity × 10¹² for a meter."""
    if meter.value == COUNT:
        return ONE
    if not isinstance(event.data, dict) or meter.value not in event.data:
        return Rejection("missing_field", f"meter {meter.slug!r} needs data.{meter.value}", event)
    value = event.data[meter.value]
    if isinstance(value, bool):
        return Rejection("bad_quantity", f"data.{meter.value} is true or false, no number", event)
    try:
        scaled = parse(value)
    except OutOfRange as error:
        return Rejection("out_of_range", f"data.{meter.value}: {error}", event)
    except BadQuantity as error:
        return Rejection("bad_quantity", f"data.{meter.value}: {error}", event)
    if scaled < 0 and not meter.allow_negative:
        return Rejection("negative", f"data.{meter.value} is {format_scaled(scaled)}, and meter {meter.slug!r} takes no negative ones", event)
    return scaled
