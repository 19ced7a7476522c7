"""A report of meter events that were refused after their 200, as the fact that the log keeps (H29). Pure.

Stripe, "Handle meter event errors": the thin event is fetched with its data; `sample_errors` name up to a few requests by their idempotency key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from topics.meter_errors import MeterErrorRecord


class _Request(msgspec.Struct):
    identifier: str = ""
    idempotency_key: str | None = None


class _Sample(msgspec.Struct):
    error_message: str = ""
    request: _Request = msgspec.field(default_factory=_Request)


class _Kind(msgspec.Struct):
    code: str
    error_count: int = 0
    sample_errors: list[_Sample] = []


class _Reason(msgspec.Struct):
    error_types: list[_Kind] = []


class _Data(msgspec.Struct):
    reason: _Reason = msgspec.field(default_factory=_Reason)


class _Event(msgspec.Struct):
    id: str
    data: _Data = msgspec.field(default_factory=_Data)


def meter_error_records(event: Mapping[str, Any], account: str = "default") -> list[MeterErrorRecord]:
    """One record for each kind of error in the report. Raises msgspec.ValidationError where it is not as documented."""
    found = msgspec.convert(event, _Event)
    return [
        MeterErrorRecord(
            account=account,
            event=found.id,
            code=kind.code,
            sentence=kind.sample_errors[0].error_message[:500] if kind.sample_errors else "",
            count=kind.error_count,
            # The documented samples carry the key under one name or the other.
            keys=tuple(sorted({key for each in kind.sample_errors if (key := each.request.idempotency_key or each.request.identifier)})),
        )
        for kind in found.data.reason.error_types
    ]
