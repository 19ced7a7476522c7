"""Corrupt stored state halts with the place or is read as what it was: every byte flipped, every truncation, exchanges, unknown versions (A22)."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.structs import TopicPartition

from infra import delivery_thread
from infra.delivery_headers import MendingRecords
from infra.delivery_thread import Session
from sinks.clickhouse.record_rows import batch_rows
from tests.core.meterlog import Disk, fresh
from tests.fuzz.samples import START_S, Sample, changelog, content, stored_samples
from topics import catalog
from topics.batch import Batch
from topics.codec import encode
from topics.definitions import decode_definition
from topics.errors import CorruptState, MalformedRecord, UnknownVersion
from topics.receipt import decode_receipt
from topics.verdict import decode_verdict
from topics.window_total import decode_window_total

WHERE = "usage.somewhere 3 offset 4711"
DECODE: dict[str, Callable[[bytes, str], Any]] = {
    "total": decode_window_total,
    "verdict": decode_verdict,
    "receipt": decode_receipt,
    "definition": decode_definition,
}
TOPIC = {"total": catalog.WINDOWS, "verdict": catalog.VERDICTS, "receipt": catalog.RECEIPTS, "definition": catalog.DEFINITIONS}
SAMPLES = stored_samples()
COVERED = 17
"""Bytes of a batch before its CRC: base offset, length, leader epoch, magic."""
FLIPS = (0x01, 0x10, 0x80)
"""A neighbouring digit or letter, another column of ASCII, no ASCII at all."""


def attempted(read: Callable[[], Any]) -> tuple[Any, str]:
    """What was read and no word, or nothing and the sentence of an error of ours; any other error is the test's failure."""
    try:
        return read(), ""
    except (MalformedRecord, CorruptState) as error:
        return None, str(error)


def damaged(data: bytes) -> Iterator[bytes]:
    """Every byte flipped in three ways, every truncation at either end, every byte left out, every two neighbours exchanged."""
    for at in range(len(data)):
        for flip in FLIPS:
            yield data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]
        yield data[:at]
        yield data[at + 1 :]
        yield data[:at] + data[at + 1 :]
        if at + 1 < len(data) and data[at] != data[at + 1]:
            yield data[:at] + data[at + 1 : at + 2] + data[at : at + 1] + data[at + 2 :]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.kind)
def test_a_damaged_record_is_named_and_never_read_as_another(sample: Sample) -> None:
    """Whatever byte of a stored record is flipped, lost or moved: an error that names its place, or the very same record."""
    decode, told = DECODE[sample.kind], 0
    whole = decode(sample.value, WHERE)
    for bad in damaged(sample.value):
        found, error = attempted(partial(decode, bad, WHERE))
        assert error.startswith(WHERE) if error else found == whole, bad
        told += bool(error)
    assert told > 6 * len(sample.value)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.kind)
def test_records_of_the_version_without_checksums_are_read_and_written_anew(sample: Sample) -> None:
    """A record of version 1 reads as the same facts, and is sealed when it is next written; sealed ones of version 1 are refused."""
    decode = DECODE[sample.kind]
    old = re.sub(rb',"crc":"[0-9a-f]{8}"\}$', b"}", sample.value).replace(b'{"v":2,', b'{"v":1,')
    assert decode(old, WHERE) == decode(sample.value, WHERE)
    assert encode(decode(old, WHERE)) == sample.value
    for version in (b"0", b"3", b"-1", b"99"):
        with pytest.raises(UnknownVersion, match=re.escape(WHERE)):
            decode(old.replace(b'{"v":1,', b'{"v":%b,' % version), WHERE)
    with pytest.raises(MalformedRecord, match="no checksum"):
        decode(old.replace(b'{"v":1,', b'{"v":2,'), WHERE)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.kind)
def test_the_archive_halts_at_the_place_of_a_damaged_record(sample: Sample) -> None:
    """As the archive reads a batch: topic, partition and offset of the damaged record are in the error, and no row comes of it."""
    rng = random.Random(sample.kind)
    bad = [bad for bad in damaged(sample.value) if bad and rng.random() < 0.1]
    assert len(batch_rows(archived(sample, sample.value), frozenset()).rows) <= 1
    for value in bad:
        with pytest.raises(MalformedRecord, match=rf"^{re.escape(TOPIC[sample.kind])} 3, offset 4711: "):
            batch_rows(archived(sample, value), frozenset())


def archived(sample: Sample, value: bytes) -> Batch:
    """The record at partition 3, offset 4711."""
    return Batch(
        topic=TOPIC[sample.kind], partition=3, epoch=1, start_offset=4711, offsets=[4711], timestamps_ms=[START_S * 1000], keys=[sample.key],
        values=[value], headers=[()], next_offset=4712,
    )  # fmt: skip


def damaged_changelogs(flip: int) -> Iterator[tuple[int, Disk]]:
    """The changelog with one byte of one record flipped, each in turn: the record's offset and the disk."""
    whole = changelog()
    for index, (key, value, offset) in enumerate(whole.records):
        assert key is not None
        assert value is not None
        both = key + value
        for at in range(len(both)):
            bad = both[:at] + bytes([both[at] ^ flip]) + both[at + 1 :]
            disk = Disk()
            disk.records = [*whole.records[:index], (bad[: len(key)], bad[len(key) :], offset), *whole.records[index + 1 :]]
            yield offset, disk


def recovered(disk: Disk) -> tuple[Any, ...]:
    """What a worker comes to that takes the partition over."""
    return content(fresh(disk, random.Random(2)))


@pytest.mark.parametrize("flip", FLIPS)
def test_a_flipped_byte_of_the_changelog_halts_with_its_offset_or_changes_nothing(flip: int) -> None:
    """Rows, ids, definitions, counters and their keys: recovery names the damaged record, or comes to the very same state."""
    whole, told, cases = recovered(changelog()), 0, 0
    for offset, disk in damaged_changelogs(flip):
        cases += 1
        found, error = attempted(partial(recovered, disk))
        assert f"usage.state 0@{offset}:" in error if error else found == whole
        told += bool(error)
    assert told > cases * 3 // 4


def test_a_changelog_that_lost_exchanged_or_cut_records_halts_or_is_the_same() -> None:
    """Each record left out, cut at every length, or its value exchanged with any other's: halted by name, or the very same state."""
    whole = changelog(flushes=3)
    wanted, told = recovered(whole), 0
    cases: list[list[Any]] = []
    for index, (key, value, offset) in enumerate(whole.records):
        before, after = whole.records[:index], whole.records[index + 1 :]
        cases += [[*before, *after]] if index != len(whole.records) - 1 else []
        cases += [[*before, (key, (value or b"")[:size], offset), *after] for size in range(len(value or b""))]
        for other in range(index):
            swapped = list(whole.records)
            swapped[index] = (key, whole.records[other][1], offset)
            swapped[other] = (whole.records[other][0], value, whole.records[other][2])
            cases.append(swapped)
    for records in cases:
        disk = Disk()
        disk.records = records
        found, error = attempted(partial(recovered, disk))
        assert "usage.state 0" in error if error else found == wanted
        told += bool(error)
    assert told > len(cases) // 2


def test_an_unknown_version_of_a_segment_says_upgrade() -> None:
    """The version byte of any segment: what a newer program wrote is refused by name, with the remedy."""
    for key, value, offset in changelog().records:
        disk = Disk()
        disk.records = [(key, bytes([3]) + (value or b"")[1:], offset)]
        with pytest.raises(UnknownVersion, match=rf"usage.state 0@{offset}: changelog version 3 .* upgrade tidemark"):
            fresh(disk, random.Random(1))


def test_a_flipped_byte_of_a_kafka_batch_is_refused_by_its_own_checksum() -> None:
    """What Kafka's CRC covers of a batch on the wire or on a disk, our clients check, and what they say names topic, partition and offset."""
    tp = TopicPartition("usage.events", 2)
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 20)
    for number in range(3):
        builder.append(number, 1000 + number, b"acme", b'{"n":%d}' % number, [("h", b"1")])
    whole = bytes(builder.build())
    assert len(list(PartitionRecords(tp, MendingRecords(whole), [], 0, None, None, True, 1))) == 3
    said = ""
    for at in range(COVERED, len(whole)):
        for flip in FLIPS:
            bad = whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :]
            with pytest.raises(CorruptRecordException) as caught:
                list(PartitionRecords(tp, MendingRecords(bad), [], 0, None, None, True, 1))
            said = str(delivery_thread.damaged(caught.value, {("usage.events", 2): Session(1, 40), ("usage.events", 1): Session(1, 9)}))
    assert said.startswith("usage.events 2 at or after offset 40: ")
