"""What the checksums of stored records cost on this machine (decision 0003): nanoseconds, the least of several tries."""

from __future__ import annotations

import timeit
from collections.abc import Callable
from zlib import crc32

import msgspec

from streams.row_segments import pack_rows
from streams.rows import Row, Rows
from streams.segments import encode_segment
from tests.fuzz.samples import CELL, START_S, TOTAL, VERDICTS
from topics.codec import encode, is_sealed
from topics.windows import Window


def _ns(do: Callable[[], object], times: int = 50_000) -> float:
    return min(timeit.repeat(do, number=times, repeat=5)) / times * 1e9


def print_cost() -> int:
    """One line a kind of record, and one a row of a segment."""
    plain = msgspec.json.Encoder(order="deterministic").encode
    for name, record in (("verdict", VERDICTS[0]), ("total", TOTAL), ("receipt", CELL)):
        sealed = encode(record)
        without, with_ = _ns(lambda record=record: plain(record)), _ns(lambda record=record: encode(record))  # type: ignore[misc]
        check = _ns(lambda sealed=sealed: is_sealed(sealed, ""))  # type: ignore[misc]
        print(f"{name:8} {len(sealed):5} bytes: written in {without:.0f} ns, sealed {with_:.0f} ns; checked in {check:.0f} ns")
    rows = Rows()
    for number in range(4000):
        row = Row(Window(f"customer_{number}", "calls", START_S, START_S + 3600))
        row.rev, row.first_offset, row.scaled, row.events = number + 1, number, 10**12, 1
        rows.add(row)
    slots = rows.store.live()
    whole = encode_segment(pack_rows(rows.store, slots, 0, 5000))
    packing, checking = _ns(lambda: encode_segment(pack_rows(rows.store, slots, 0, 5000)), 100), _ns(lambda: crc32(whole), 100)
    print(f"a row of a segment: {packing / 4000:.0f} ns, of it {checking / 4000:.0f} ns CRC")
    return 0
