"""Stored records and changelog segments whose checksum is right and whose content is not: whoever reads them halts with the place."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any
from zlib import crc32

import msgspec

from sinks.cell_state import CellState
from sinks.clickhouse.record_rows import batch_rows
from sinks.parked import Parked
from streams.segments import decode_segment, parse_key
from tests.core.meterlog import Disk, fresh
from tests.fuzz.events import Case
from tests.fuzz.mutate import altered, damaged, token, written
from tests.fuzz.samples import REJECTED, REJECTED_HEADERS, START_S, changelog, stored_samples
from topics import catalog
from topics.batch import Batch
from topics.definitions import Definitions, decode_definition
from topics.errors import CorruptState, MalformedRecord
from topics.receipt import CellReceipt, decode_receipt, decode_receipt_key
from topics.rejected import read_rejected
from topics.verdict import decode_verdict
from topics.window_total import decode_window_total

TOPIC = {"total": catalog.WINDOWS, "verdict": catalog.VERDICTS, "receipt": catalog.RECEIPTS, "definition": catalog.DEFINITIONS}
WHERE = "usage.somewhere 3, offset 4711"
SAMPLES = stored_samples()


def resealed(body: bytes, rng: Random) -> bytes:
    """The body with a right checksum, mostly."""
    body = body[:-1] if body.endswith(b"}") else body
    return b'%b,"crc":"%08x"}' % (body, crc32(body)) if rng.random() < 0.95 else body + b"}"


@contextmanager
def storing() -> Iterator[Case]:
    """A JSON record with foreign content under a right checksum: an error that names the place, or a record that its users can use."""
    yield _stored


def _stored(rng: Random) -> str:
    sample = rng.choice(SAMPLES)
    document = msgspec.json.decode(sample.value)
    del document["crc"]
    value = written(rng, altered(rng, document)) if rng.random() < 0.8 else token(rng)
    value = resealed(value, rng)
    if rng.random() < 0.2:
        value = damaged(rng, value, 1)
    try:
        found = _used(sample.kind, value, rng)
    except MalformedRecord as error:
        assert str(error).startswith(WHERE), error
        return f"{sample.kind} halts"
    batch_rows(_batch(TOPIC[sample.kind], rng.choice((None, b"", b"\xff", sample.key)), value, ()), frozenset())
    return f"{sample.kind} {found}"


def _used(kind: str, value: bytes, rng: Random) -> str:
    """Decode the record, and ask of it what its readers ask."""
    if kind == "total":
        total = decode_window_total(value, WHERE)
        assert total.window.start_s < total.window.end_s
        assert total.revision >= (0, 0)
        return f"of {min(3, len(str(total.scaled)) // 12)}"
    if kind == "verdict":
        return type(decode_verdict(value, WHERE)).__name__
    if kind == "definition":
        definition = decode_definition(value, WHERE)
        Definitions().apply(definition)
        return definition.kind
    receipt = decode_receipt(value, WHERE)
    if isinstance(receipt, CellReceipt):
        cell = CellState.of(receipt)
        cell.release = rng.choice((-1, 10**6))
        if cell.needs() is not None:
            cell.compose(START_S * 1000)
        return receipt.state
    return Parked.of(receipt).compose(START_S * 1000).state


def _batch(topic: str, key: bytes | None, value: bytes | None, headers: tuple[tuple[str, bytes], ...]) -> Batch:
    return Batch(
        topic=topic, partition=3, epoch=1, start_offset=4711, offsets=[4711], timestamps_ms=[START_S * 1000], keys=[key], values=[value],
        headers=[headers], next_offset=4712,
    )  # fmt: skip


@contextmanager
def rejecting() -> Iterator[Case]:
    """Headers and keys of our records, wounded: named, or read as numbers and text."""
    yield _rejected


def _rejected(rng: Random) -> str:
    headers: list[tuple[str, Any]] = [(name, damaged(rng, data, 1) if rng.random() < 0.2 else data) for name, data in REJECTED_HEADERS]
    if rng.random() < 0.3:
        at = rng.randrange(len(headers))
        others: tuple[list[tuple[str, Any]], ...] = ([], [headers[at]] * 2, [("reason", None)], [(headers[at][0], None)])
        headers[at : at + 1] = rng.choice(others)
    rng.shuffle(headers) if rng.random() < 0.1 else None
    try:
        decode_receipt_key(damaged(rng, rng.choice(SAMPLES).key or b""), WHERE)
    except MalformedRecord as error:
        assert str(error).startswith(WHERE), error
    value = damaged(rng, REJECTED.value or b"")
    try:
        found = read_rejected(REJECTED.key, value, tuple(headers), WHERE)
    except MalformedRecord as error:
        assert str(error).startswith(WHERE), error
        return "halts"
    batch_rows(_batch(catalog.REJECTED, REJECTED.key, value, tuple(headers)), frozenset())
    return "read" if found.offset == REJECTED.offset else "another offset"


@contextmanager
def recovering() -> Iterator[Case]:
    """Segments with foreign content under a right checksum, in any order and number: recovery halts with its topic, or ends."""
    whole = changelog().records
    yield lambda rng: _recovered(rng, whole)


def _recovered(rng: Random, whole: list[Any]) -> str:
    disk = Disk()
    disk.records = list(whole)
    for _ in range(rng.randrange(1, 3)):
        at = rng.randrange(len(disk.records))
        key, value, offset = disk.records[at]
        key, value = key or b"", value or b""
        if rng.random() < 0.7:
            body = msgspec.msgpack.encode(_altered(rng, msgspec.msgpack.decode(whole[at % len(whole)][1][5:])))
            body = body if rng.random() < 0.8 else damaged(rng, body, 2)
            value = struct.pack(">BI", 1, crc32(body)) + body
        elif rng.random() < 0.5:
            value = damaged(rng, value, 1)
        else:
            key = damaged(rng, key, 1)
        disk.records[at] = (key, value, offset)
        if rng.random() < 0.2:
            disk.records.append((key, None if rng.random() < 0.5 else value, 1000 + at))
    try:
        found = fresh(disk, rng)
    except (CorruptState, MalformedRecord) as error:
        assert "usage.state 0" in str(error), error
        return "halts"
    found.begin_flush()
    found.windows(START_S * 1000)
    found.due(START_S * 1000)
    return "recovers"


ODD: tuple[Any, ...] = (
    0, -1, 1, 2**63 - 1, 2**64 - 1, -(2**63), "", "x", b"", b"\xff" * 15, b"1" * 16, b"z" * 48, None, True, 1.5, [], [[]], {}, {"base": 0},
)  # fmt: skip


def _altered(rng: Random, value: Any) -> Any:
    """A decoded msgpack value with one of its leaves replaced."""
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = rng.randrange(len(value))
        if rng.random() < 0.15:
            return value[:at] + value[at + 1 :] if rng.random() < 0.5 else [*value, value[at]]
        return [*value[:at], _altered(rng, value[at]), *value[at + 1 :]]
    if isinstance(value, dict) and value and rng.random() < 0.9:
        name = rng.choice(sorted(value))
        return {**value, name: _altered(rng, value[name])} if rng.random() < 0.9 else {k: v for k, v in value.items() if k != name}
    if isinstance(value, int) and rng.random() < 0.5:
        return value + rng.choice((-1, 1))
    if isinstance(value, bytes) and rng.random() < 0.5:
        return damaged(rng, value, 1)
    return rng.choice(ODD)


__all__ = ["decode_segment", "parse_key", "recovering", "rejecting", "storing"]
