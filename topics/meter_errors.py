"""What a provider refused after it had answered 200 (H29): brought back to the cell by the idempotency key of the call."""

from __future__ import annotations

from typing import Final

import msgspec

from topics.codec import CONTROL_VERSION, Stored

METER_ERROR_TYPE: Final = "tidemark.meter_error"


class MeterErrorRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`data` of a `tidemark.meter_error` record, for every partition: samples `keys` (idempotency keys) of events refused with `code`.

    `event` names the provider's event, so that a second delivery says nothing new; `sentence` is the provider's own message, without payloads.
    """

    v: int = CONTROL_VERSION
    provider: str = "stripe"
    account: str = "default"
    event: str
    code: str
    sentence: str = ""
    count: int
    keys: tuple[str, ...]


class MeterError(Stored, frozen=True, kw_only=True):
    """A refusal as the fold published it to `usage.definitions`, key `["meter_error", provider, account, event, code]`."""

    kind: str = "meter_error"
    said: MeterErrorRecord
    offset: int
