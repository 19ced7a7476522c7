"""WindowTotal: one revision of one window, on `usage.windows`; law 3: (generation, through_offset) names exactly one total."""

from __future__ import annotations

import re

import msgspec

from topics.codec import Stored, decode
from topics.errors import MalformedRecord
from topics.instants import format_s, parse_s
from topics.quantity import BadQuantity, format_scaled, parse_total
from topics.windows import Window


class WindowTotal(Stored, frozen=True, kw_only=True):
    """The corrected total of a window through one event; the body is a pure function of (window, revision).

    `quantity` is a decimal string, `start` and `end` RFC 3339 UTC, offsets are those of `usage.events` on `partition`,
    `hash` is 64 hex digits (`topics/content_hash.py`).
    """

    customer: str
    meter: str
    start: str
    end: str
    quantity: str
    events: int
    first_offset: int
    through_offset: int
    generation: int
    partition: int
    hash: str

    @property
    def window(self) -> Window:
        """The window's identity. Raises MalformedRecord where a time is none."""
        start_s, end_s = parse_s(self.start), parse_s(self.end)
        if start_s is None or end_s is None:
            raise MalformedRecord(f"usage.windows: {self.start!r} … {self.end!r} is no window")
        return Window(self.customer, self.meter, start_s, end_s)

    @property
    def revision(self) -> tuple[int, int]:
        """(generation, through_offset); the greater one is the later total."""
        return (self.generation, self.through_offset)

    @property
    def scaled(self) -> int:
        """The quantity × 10¹²."""
        return parse_total(self.quantity)


_decoder = msgspec.json.Decoder(WindowTotal)
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)


def decode_window_total(data: bytes | None, where: str) -> WindowTotal:
    """Raises MalformedRecord or UnknownVersion, naming `where`."""
    total = decode(data, _decoder, where)
    try:
        window, _ = total.window, total.scaled
    except (MalformedRecord, BadQuantity) as error:
        raise MalformedRecord(f"{where}: the record cannot be used: {error}") from None
    numbers = (total.events, total.first_offset, total.through_offset, total.generation, total.partition)
    if window.start_s >= window.end_s or min(numbers) < 0 or not _HASH.fullmatch(total.hash):
        raise MalformedRecord(f"{where}: the record cannot be used: its window, its offsets or its hash are none")
    return total


def window_total(
    window: Window, *, scaled: int, events: int, first_offset: int, revision: tuple[int, int], partition: int, content_hash: int
) -> WindowTotal:
    """The record of a row: `scaled` × 10⁻¹² units, `content_hash` as an integer below 2²⁵⁶."""
    return WindowTotal(
        customer=window.customer,
        meter=window.meter,
        start=format_s(window.start_s),
        end=format_s(window.end_s),
        quantity=format_scaled(scaled),
        events=events,
        first_offset=first_offset,
        through_offset=revision[1],
        generation=revision[0],
        partition=partition,
        hash=f"{content_hash:064x}",
    )
