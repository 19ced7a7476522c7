"""Every constant of the sizing rule, each with what it was measured by. A later benchmark corrects a figure here and nowhere else.

Microseconds are those of one core of the reference machine (2 cores of a cloud host, Python 3.11), with nothing else running; a
faster core needs fewer of them. Bytes are bytes, before Kafka's replication. `tests/core/test_sizing_constants.py` holds the sizes of records
against what the codecs write today, so that a changed record cannot leave this file behind.
"""

from __future__ import annotations

from typing import Final

# ── the meter ───────────────────────────────────────────────────────────────────────────────────────────────────
METER_US_AN_EVENT: Final = 2.2
"""Fetch, decode, checks, id, sum, hash of an event without its bytes: with `METER_US_A_BYTE` it makes the 2.5 µs of CPU (375,000 events a second and
core) that `python -m tests.benchmarks --shape base` measured for events of 135 bytes, the worker's start in it."""
METER_US_A_BYTE: Final = 0.002
"""Checksum, JSON: the difference between events of 135 bytes and of 1 kB, for each byte. Estimated; the same benchmark's large events measure it."""
METER_US_A_POSTING: Final = 0.6
"""Each meter beyond the first that an event selects: its value is checked and its row is found again. Estimated; the same benchmark's `meters`."""
METER_US_A_ROW: Final = 8.0
"""A row that changed is written once in a turn, however many events it took: packed, made a segment, sent, entered in the changelog's books. It is
what a million customers cost more than two thousand: 10.8 µs of CPU an event instead of 2.5 (`--shape million`, all of them new in that run)."""
TURN_S: Final = 0.3
"""`streams/driver.py`, `turn_ms`: how often a partition's changed rows are written. A crash replays at most this much and what one flush takes."""
BUSY_SHARE: Final = 0.6
"""Planned share of a core: what is left lets a backlog melt (at 0.6 an hour's stop is made good in an hour and a half) and takes an uneven spread
of customers over partitions."""

# ── the meter's memory ──────────────────────────────────────────────────────────────────────────────────────────
WORKER_BYTES: Final = 250_000_000
"""A meter process without state: Python, Faust, numpy, fetched batches that wait. Estimated."""
PARTITION_BYTES: Final = 6_000_000
"""Of each partition on a worker: one fetch of 4 MiB that waits in the client, and its records' facts on their way out. Estimated from the limits."""
OPEN_WINDOW_BYTES: Final = 250
"""A window whose grace is not over: 206 to 249 in the table of rows with its index, names, closing and changelog books
(`python -m tests.benchmarks.state`)."""
KEPT_WINDOW_BYTES: Final = 250
"""A window that is closed and may still be corrected until `horizon`: the same."""
ID_BYTES: Final = 8
"""A remembered id in memory: its mark and place in the index, 7 when pages are full (`streams/id_table.py`)."""
ID_FILE_BYTES: Final = 16
"""And in the worker's local file: its digest. Full blocks lie there; the page cache keeps what is looked up often, so leave it as much memory."""
CUSTOMER_BYTES: Final = 1_500
"""A customer's names, codes and bindings at the meter and the report. Estimated from the objects of one bound item."""

# ── Kafka ───────────────────────────────────────────────────────────────────────────────────────────────────────
RECORD_BYTES: Final = 20
"""What Kafka adds to a record: lengths, offset and time deltas (7 to 12), its share of the batch's 61 bytes. The key is counted beside it."""
KEY_BYTES: Final = 16
"""A customer's name as key."""
PACKED_ROW_BYTES: Final = 60
"""A row in a segment of `usage.state`: `streams/row_segments.py`, names of 12 and 9 characters."""
PACKED_ID_BYTES: Final = 16
"""An id in a segment."""
COUNTERS_BYTES: Final = 300
"""The record that ends each flush of a partition, with its key and a few tombstones."""
ID_WRITES: Final = 2
"""An id is written by its flush, and once more when its hour is over and the small segments are merged (`MERGED_PARTS`)."""
ROW_COPIES: Final = 3
"""The changelog holds at most twice the segments that the live rows need beside them (`streams/changelog.py`, `said_again`)."""
SPARE_STATE_BYTES: Final = 15_400_000
"""Of a partition: 64 spare segments of small flushes, as they come at most to when each is full."""
DIRTY_SHARE: Final = 0.1
"""`min.cleanable.dirty.ratio` of `usage.state`: so much of the log may be rubbish before the broker cleans it."""
WINDOW_RECORD_BYTES: Final = 450
"""A revision on `usage.windows`: 315 bytes of JSON, key, headers of times, framing."""
RECEIPT_RECORD_BYTES: Final = 1_300
"""A cell's state on `usage.receipts`: 1,140 bytes of JSON, key, framing."""
RECEIPTS_A_DELIVERY: Final = 2
"""The intent, and the answer."""
VERDICT_RECORD_BYTES: Final = 270
"""A duplicate's verdict; a rejected one's is 50 bytes longer."""
MARK_RECORD_BYTES: Final = 300
"""The mark after each flush of a partition, for the archive."""
REJECTED_EXTRA_BYTES: Final = 400
"""Headers of a dead letter beside the event's own bytes: reason, sentence, origin."""
OTHER_TOPICS_DAYS: Final = 30
"""`topics/catalog.py`: retention of windows, verdicts, rejected."""
CELL_DAYS: Final = 35
"""How long a cell's receipt stays before it is final and archived: a month's period and the three days in which its draft may wait."""

# ── ClickHouse ──────────────────────────────────────────────────────────────────────────────────────────────────
RAW_ROW_BYTES: Final = 50
"""A row of `raw_events` with its indexes, of an event of about 330 bytes: 49.7 measured at 10⁷ rows (`python -m tests.benchmarks.archive`)."""
RAW_ROW_AT_BYTES: Final = 330
"""The event that `RAW_ROW_BYTES` was measured with."""
RAW_SHARE_OF_MORE: Final = 0.15
"""Of each byte by which an event is longer: what JSON that repeats itself comes to after ZSTD. Estimated from `value`'s column (18 of 330 bytes)
with a margin of three; random text would take 0.75."""
VERDICT_ROW_BYTES: Final = 28
"""A row of `verdict_log`: 0.42 bytes an event with one duplicate of 67 (the same benchmark)."""
WINDOW_ROW_BYTES: Final = 46
"""A row of `window_log`: the same benchmark."""
RECEIPT_ROW_BYTES: Final = 54
"""A row of `receipt_log`: the same benchmark."""
ARCHIVE_US_AN_EVENT: Final = 4.0
"""The archive's own work for a row (`python -m tests.benchmarks.archive --insert`: 3.8 to 4.0, on a host where the engine was slow)."""
ENGINE_US_AN_EVENT: Final = 10.0
"""ClickHouse's own work for the same row, merges included: the same benchmark, 8.6 to 10.4; 20 to 22 on a slower host."""

# ── deliveries ──────────────────────────────────────────────────────────────────────────────────────────────────
DELIVERY_US: Final = 2_500
"""Report worker's CPU for one delivery: intent, request, answer, two receipts. Measured at the sandbox (`tests.benchmarks.delivering`), without
TLS: 2.3 ms on a small stack with its idling, of which 0.7 are the provider's client and 0.6 all else at 400 calls a second."""
REVISION_DELAY_S: Final = 30.0
"""`timing.revision_delay`: what comes late for one window within it makes one revision, so one call."""
EARLY_ROOM_S: Final = 540.0
"""How long before a period's edge usage records of the last window can go out: the first early pass begins 10 minutes before it, and the last
minute is kept for retries (`streams/early.py`)."""
DRAFT_ROOM_S: Final = 3_600.0
"""How long after a period's end a draft invoice surely takes meter events: Stripe finalises it about an hour later (`sinks/finality.py`)."""

# ── recovery ────────────────────────────────────────────────────────────────────────────────────────────────────
RESTART_S: Final = 3.0
"""From the end of a process to its successor's first read under the same name (static membership): imports 1 s, joining 1.4 s."""
STATE_BYTES_A_S: Final = 60e6
"""Changelog bytes that a worker reads a second, through Faust's own path. Not measured: a cautious guess for records of 600 kB."""
RECOVER_US_A_ROW: Final = 7.0
"""Unpack, merge, enter into table, closing and changelog books: 5.4 to 6.0 (`python -m tests.benchmarks.state`); the goal of 1 million rows in
15 s is 15 µs."""
RECOVER_US_AN_ID: Final = 0.7
"""Insert into the table of ids while it grows: 0.7 measured for 2 million."""

# ── partitions ──────────────────────────────────────────────────────────────────────────────────────────────────
PARTITIONS_A_WORKER: Final = 2
"""For each worker at the greatest load ever planned: two to move when it leaves, so that its load is shared."""
PARTITION_STEPS: Final = (4, 8, 12, 24, 48, 96, 192, 384, 768, 1024)
"""Counts that 2, 3, 4, 6, 8 and 12 workers can share evenly (as far as they go); 1,024 is the most that `[kafka] partitions` takes."""
