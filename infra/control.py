"""Control records as bytes: the CloudEvents that change what the meter does (law 0). Pure: an id is an argument."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from topics.adjustments import SETTLE_TYPE, SettleRecord
from topics.amendments import AMEND_TYPE, AmendRecord, amendment_digest
from topics.bindings import BINDING_TYPE, CLOSE_TYPE, RELEASE_TYPE, BindingRecord, Item, ReleaseRecord, items_digest
from topics.clocks import CLOCK_TYPE, ClockRecord
from topics.codec import CONTROL_VERSION, digest, encode
from topics.flushes import FLUSH_TYPE, FlushRecord
from topics.instants import format_us
from topics.invoices import INVOICE_TYPE, InvoiceRecord
from topics.meter_errors import METER_ERROR_TYPE, MeterErrorRecord
from topics.meters import METERS_TYPE, Meter, MetersRecord, Timing, meters_digest
from topics.restating import RESTATE_TYPE, RestateRecord

SOURCE: Final = "tidemark/apply"
AMEND_SOURCE: Final = "tidemark/amend"
"""Source of amendments: with it no event of a producer has an amendment's name."""
ALL: Final = "tidemark"
"""Subject and key of a record that concerns every customer of a partition."""


class ControlEvent(NamedTuple):
    """A record for `usage.events`: its key, its CloudEvent, and the digest that the fold will hold once it is in force."""

    key: bytes
    value: bytes
    digest: str = ""


class _Event(msgspec.Struct, omit_defaults=True):
    specversion: str
    id: str
    source: str
    type: str
    subject: str
    data: object = None
    time: str | None = None


def _event(event_type: str, subject: str, data: object) -> bytes:
    """The id is the digest of what the record says, so saying it twice is visible as the same thing."""
    return encode(_Event("1.0", digest([event_type, subject, data])[:32], SOURCE, event_type, subject, data))


def meters_event(timing: Timing, meters: tuple[Meter, ...], replaces: str | None) -> ControlEvent:
    """All meters and timings, for every partition."""
    named = meters_digest(timing, meters)
    record = MetersRecord(digest=named, replaces=replaces, timing=timing, meters=meters)
    return ControlEvent(ALL.encode(), _event(METERS_TYPE, ALL, record), named)


def binding_event(customer: str, items: tuple[Item, ...], replaces: str | None) -> ControlEvent:
    """All items of one customer, for its home."""
    named = items_digest(items)
    record = BindingRecord(digest=named, replaces=replaces, items=items)
    return ControlEvent(customer.encode(), _event(BINDING_TYPE, customer, record), named)


def release_event(customer: str, target: str, reason: str) -> ControlEvent:
    """A parked cell or window of a customer may be tried again; `target` is its receipt's key."""
    return ControlEvent(customer.encode(), _event(RELEASE_TYPE, customer, ReleaseRecord(target=target, reason=reason)))


def settle_event(customer: str, record: SettleRecord) -> ControlEvent:
    """An operator dealt with an adjustment outside of Tidemark."""
    return ControlEvent(customer.encode(), _event(SETTLE_TYPE, customer, record))


def restate_event(customer: str, record: RestateRecord) -> ControlEvent:
    """An operator found that the provider holds so much of a cell."""
    return ControlEvent(customer.encode(), _event(RESTATE_TYPE, customer, record))


def invoice_event(customer: str, record: InvoiceRecord) -> ControlEvent:
    """What the provider says of one invoice of a customer."""
    return ControlEvent(customer.encode(), _event(INVOICE_TYPE, customer, record))


def amend_event(customer: str, time_us: int, record: AmendRecord) -> ControlEvent:
    """A correction of one event or of a window of a customer; `time_us` lies in every window that it posts to."""
    named = amendment_digest(customer, time_us, record)
    event = _Event("1.0", named[:32], AMEND_SOURCE, AMEND_TYPE, customer, record, format_us(time_us))
    return ControlEvent(customer.encode(), encode(event), named)


def clock_event(customer: str, record: ClockRecord) -> ControlEvent:
    """What the customer's test clock shows."""
    return ControlEvent(customer.encode(), _event(CLOCK_TYPE, customer, record))


def meter_error_event(record: MeterErrorRecord) -> ControlEvent:
    """What the provider refused after it had answered 200, for every partition."""
    return ControlEvent(ALL.encode(), _event(METER_ERROR_TYPE, ALL, record))


def flush_event(customer: str, until_s: int, unique: str) -> ControlEvent:
    """A customer's windows that start before `until_s` are emitted now as they stand; `unique` tells two flushes apart."""
    return ControlEvent(customer.encode(), _event(FLUSH_TYPE, customer, FlushRecord(until_s=until_s, id=unique)))


def close_event(unique: str) -> ControlEvent:
    """Every open window of a partition closes now (embedded stacks only); `unique` tells two closings apart."""
    return ControlEvent(ALL.encode(), _event(CLOSE_TYPE, ALL, {"v": CONTROL_VERSION, "id": unique}))
