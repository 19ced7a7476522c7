"""Receipts on `usage.receipts`: the whole delivery state of a cell, and windows that are parked whole. Laws 12 – 15.

A record holds everything, so the last one of a key is enough: the topic is compacted, and recovery sees only that one (H23).
The order of a cell's records is intent → answer → next intent …; no two intents of a cell are ever open at once (law 13).
"""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

from topics.adjustments import Adjustment, Policy
from topics.codec import VERSION, Stored, decode, encode
from topics.errors import MalformedRecord, UnknownVersion
from topics.quantity import BadQuantity, parse_total
from topics.windows import parse_window_key

CellState = Literal["intent", "delivered", "confirmed", "failed", "refused", "unknown", "parked", "adjustment"]
"""Where a cell stands.

- `intent`: about to be called, being called, or called without a definite answer yet;
- `delivered`: the provider answered that it holds these units; `confirmed`: read back from the provider;
- `failed`: this attempt's key is spent (a saved failure, or shown not to have landed); the next attempt follows by itself;
- `refused`: the provider said no (`outcome` refused, period_closed or conflict); held until a release;
- `unknown`: 23 h without an answer and the read-back did not explain what stands; held until a release;
- `parked`: it cannot be sent as it is (`reason` fraction or negative), so nobody was called for this revision.
- `adjustment`: it is final (law 16), so nobody was called; `adjustment` says what is missing or too much (`outcome` open or settled).
"""


class WindowPart(msgspec.Struct, frozen=True, kw_only=True):
    """One window's share of a cell: its key (`topics/windows.py`), its revision, its exact total as a decimal string."""

    window: str
    generation: int
    through_offset: int
    quantity: str

    @property
    def revision(self) -> tuple[int, int]:
        """(generation, through_offset) of the total that was summed."""
        return (self.generation, self.through_offset)


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What the provider is known to hold in a cell: `units` as an integer string, the exact `quantity`, since `at_ms`."""

    revision: int
    attempt: int
    units: str
    quantity: str
    at_ms: int


class MeterTarget(msgspec.Struct, frozen=True, kw_only=True):
    """The provider's meter and customer that a cell is reported to.

    `aggregation`: the newest event of a UTC `hour` or `day` counts (a delivery says the total), or the `sum` of all (it says the signed delta).
    `customer_key` and `value_key` are the names under which the meter finds both in an event's payload.
    """

    aggregation: Literal["hour", "day", "sum"]
    event_name: str
    customer: str
    customer_key: str = "stripe_customer_id"
    value_key: str = "value"


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A meter event that was accepted and is not confirmed yet: by how much it changed what stands (signed), and the key that errors name."""

    idempotency_key: str
    units: str
    quantity: str
    at_ms: int


class CellReceipt(Stored, frozen=True, kw_only=True):
    """One revision and attempt of a cell, and what stands at the provider meanwhile.

    `cell` names the cell within (provider, account): `item|second` for usage records, the meter, customer and UTC hour or day (or window) where
    `meter` is there. `revision` is a counter from 1, `windows` are what it sums; `units` = Σ quantity × scale as a whole number, for meters as a
    signed decimal ("" where parked: there is none); where a meter adds up, `body` says only the difference to `standing`. `path` and `body` are
    the exact request that `idempotency_key` names. `intent_at_ms` is when this attempt's intent was first written: the key's age is counted from
    it, and that of `identifier`, which names a meter event over all attempts of a delta.
    `reported_at_ms` is when the answer came. `outcome` is one of sinks/outcomes.py in snake case, `reason` a short stable word, `sentence` is
    for people. `closed_at_ms` is when the meter emitted the newest of `windows` (None: not said).
    `released` is the offset of the last release seen (−1: none). `maybe` are units that may stand instead of `standing`: those of attempts
    since then which ended without saying whether they took effect. `unconfirmed` are accepted meter events in order; `lost` counts those in a row
    that were accepted and then were not there. `fractions` is the binding's word on parts of a unit (law 17),
    `late` its word on adjustments, `clock` the test clock that the customer lives by ("": none), `price` what the
    item costs by ("": the binding does not say). `beside` are units of the cell that stand at another second of its period, where nothing of ours can
    be (an operator found them): they count in `units` and `standing`, and the request says so much less.
    """

    kind: str = "cell"
    provider: str
    account: str
    cell: str
    customer: str
    meter: str
    item: str
    subscription: str = ""
    timestamp_s: int
    period_start_s: int
    period_end_s: int
    scale: str = "1"
    windows: tuple[WindowPart, ...]
    revision: int
    attempt: int
    quantity: str
    units: str
    idempotency_key: str = ""
    path: str = ""
    body: str = ""
    state: CellState
    intent_at_ms: int
    reported_at_ms: int | None = None
    outcome: str = ""
    http_status: int | None = None
    request_id: str = ""
    reason: str = ""
    sentence: str = ""
    closed_at_ms: int | None = None
    released: int = -1
    standing: Standing | None = None
    maybe: tuple[str, ...] = ()
    meter_target: MeterTarget | None = None
    identifier: str = ""
    fractions: Literal["refuse", "ledger", "exact"] = "refuse"
    unconfirmed: tuple[Sent, ...] = ()
    lost: int = 0
    late: Policy = "hold"
    clock: str = ""
    price: str = ""
    adjustment: Adjustment | None = None
    beside: str = "0"


class WindowReceipt(Stored, frozen=True, kw_only=True):
    """A window that has no cell: parked whole with its `reason`, until a definition gives it one (`bound`: `cell` names it).

    Reasons: `unbound` (no item at its start), `before_period` (it ends before its item is billed), `after_end` (it begins once its item is
    billed no more: the subscription ended), `cell_taken` (its cell belongs to another customer, meter or period: a configuration error),
    `unsupported` (a provider or mode that this program does not deliver to).
    """

    kind: str = "window"
    window: str
    customer: str
    meter: str
    start_s: int
    end_s: int
    generation: int
    through_offset: int
    quantity: str
    state: Literal["parked", "bound"] = "parked"
    reason: str = ""
    sentence: str = ""
    cell: str = ""
    parked_at_ms: int
    closed_at_ms: int | None = None
    released: int = -1

    @property
    def revision(self) -> tuple[int, int]:
        """(generation, through_offset) of the total that is parked."""
        return (self.generation, self.through_offset)


Receipt = CellReceipt | WindowReceipt


def cell_key(provider: str, account: str, cell: str) -> bytes:
    """Key of a cell's receipts: JSON, so that no part can run into another."""
    return encode(["cell", provider, account, cell])


def parked_key(window: str) -> bytes:
    """Key of a window's own receipts."""
    return encode(["window", window])


def receipt_key(receipt: Receipt) -> bytes:
    """The key a receipt is written under; its text is what a release names as target."""
    if isinstance(receipt, WindowReceipt):
        return parked_key(receipt.window)
    return cell_key(receipt.provider, receipt.account, receipt.cell)


class _Kind(msgspec.Struct):
    kind: str


_kind = msgspec.json.Decoder(_Kind)
_cell = msgspec.json.Decoder(CellReceipt)
_window = msgspec.json.Decoder(WindowReceipt)
_key = msgspec.json.Decoder(list[str])


_UNITS: Final = re.compile(r"\d{1,19}", re.ASCII)
_METER_UNITS: Final = re.compile(r"-?\d{1,40}(\.\d{1,12})?", re.ASCII)


def decode_receipt(data: bytes | None, where: str) -> Receipt:
    """A record of `usage.receipts` that is no tombstone. Raises MalformedRecord or UnknownVersion, naming `where`."""
    kind = decode(data, _kind, where).kind
    if kind in {"cell", "window"}:
        receipt: Receipt = decode(data, _cell, where) if kind == "cell" else decode(data, _window, where)
        try:
            _check(receipt)
        except (MalformedRecord, BadQuantity) as error:
            raise MalformedRecord(f"{where}: the receipt cannot be used: {error}") from None
        return receipt
    raise UnknownVersion(f"{where}: receipt kind {kind!r} is unknown to this program (record version {VERSION}); upgrade tidemark")


def _check(receipt: Receipt) -> None:
    """Every number and name that is kept as text can be read."""
    if isinstance(receipt, WindowReceipt):
        parse_window_key(receipt.window)
        parse_total(receipt.quantity)
        return
    for window in receipt.windows:
        parse_window_key(window.window)
        parse_total(window.quantity)
    for quantity in (receipt.scale, receipt.quantity, receipt.beside, *(() if receipt.standing is None else (receipt.standing.quantity,))):
        parse_total(quantity)
    if receipt.adjustment is not None:
        for number in (receipt.adjustment.units, receipt.adjustment.standing, receipt.adjustment.settled):
            parse_total(number)
        for part in (*receipt.adjustment.carried, *(() if receipt.adjustment.remedy is None else (receipt.adjustment.remedy,))):
            parse_total(part.units)
    form = _UNITS if receipt.meter_target is None else _METER_UNITS
    for sent in receipt.unconfirmed:
        parse_total(sent.units), parse_total(sent.quantity)
    asked = (receipt.units,) if receipt.units or receipt.state == "intent" else ()
    for units in (*asked, *receipt.maybe, *(() if receipt.standing is None else (receipt.standing.units,))):
        if not form.fullmatch(units):
            raise MalformedRecord(f"{units[:40]!r} are no units")


def decode_receipt_key(key: bytes | None, where: str) -> list[str]:
    """`["cell", provider, account, cell]` or `["window", window_key]`. Raises MalformedRecord, naming `where`."""
    try:
        parts = _key.decode(key or b"")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedRecord(f"{where}: the key cannot be read: {error}") from None
    if (parts[:1] == ["cell"] and len(parts) == 4) or (parts[:1] == ["window"] and len(parts) == 2):
        return parts
    raise MalformedRecord(f"{where}: {parts!r} is no receipt key")
