"""Law 4, the changelog: packed segments, each key written once (`kind | writer epoch | n`), merged by max and never by order.

A segment is written whole by one flush and says which prefix of the log it belongs to (`generation`, `upto`). What a crashed flush left behind
belongs to a prefix without counters (`streams/recovery.py`); because a row's value is a pure function of the log, two writers never contradict.
Value: version byte, CRC-32 of the rest (a flipped byte must halt, never be guessed at), msgpack.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final, NamedTuple

import msgspec

from streams.duplicates import KEY_BYTES
from streams.rows import Row, revision, split_revision
from streams.state import Clocks, Identity, Retired
from topics.content_hash import MODULUS
from topics.errors import CorruptState, UnknownVersion
from topics.verdict import Counters
from topics.windows import Window

ROWS: Final = b"r"
IDS: Final = b"i"
DEFINITIONS: Final = b"d"
COUNTERS: Final = b"c"
EPOCH_BYTES: Final = 8
VERSION: Final = 1
ROWS_A_SEGMENT: Final = 4000
"""About 150 bytes a row: 0.6 MB, well under the topic's 2 MiB even with 256-byte customer names."""
IDS_A_SEGMENT: Final = 40_000
"""16 bytes an id: 640 kB."""
ROW_BYTES: Final = 700_000
"""Names may be long: a segment is also closed at this many bytes of names, or of definitions."""
_head = struct.Struct(">BI")


class RowRecord(msgspec.Struct, array_like=True, gc=False):
    """One row as it is stored: absolute values, so that the newest one alone is enough."""

    customer: str
    meter: str
    start_s: int
    end_s: int
    scaled: bytes
    events: int
    first_offset: int
    generation: int
    through_offset: int
    emitted_generation: int
    emitted_offset: int
    content_hash: bytes
    own: bool = False


class RowSegment(msgspec.Struct, array_like=True, gc=False):
    """Rows of a flush."""

    generation: int
    upto: int
    rows: list[RowRecord]


class IdSegment(msgspec.Struct, array_like=True, gc=False):
    """Digests of counted ids of one hour bucket, 16 bytes each; `key_name` says under which key they were made."""

    generation: int
    upto: int
    bucket: int
    digests: bytes
    key_name: bytes


class DefinitionSegment(msgspec.Struct, array_like=True, gc=False):
    """Versions put in force in a flush, as they stand on `usage.definitions`."""

    generation: int
    upto: int
    definitions: list[bytes]


class CounterRecord(msgspec.Struct, array_like=True, gc=False):
    """The last record of a flush: with it the prefix up to `counters.next_offset` is durable.

    `closed`: where each earlier generation ended. `ids`, `definitions`, `meters_digest`: how many live ids and versions the prefix holds and
    which meters are in force, so that a lost segment of either halts as a lost row does. `own_retired`: `retired` by customer, of rows that test
    clocks made final; `clocks_through`: Σ offsets of the clocks' newest words; `amended_through`: the same of amendments that may still be
    replaced. Records written before there were clocks, or amendments, have none.
    """

    generation: int
    counters: Counters
    clocks: Clocks
    retired: Retired
    identity: Identity
    id_key: bytes
    closed: list[int]
    ids: int
    definitions: int
    meters_digest: str | None
    own_retired: dict[str, Retired] = {}
    clocks_through: int = 0
    amended_through: int = 0


Segment = RowSegment | IdSegment | DefinitionSegment | CounterRecord
_decoders: dict[bytes, msgspec.msgpack.Decoder[Segment]] = {
    ROWS: msgspec.msgpack.Decoder(RowSegment),
    IDS: msgspec.msgpack.Decoder(IdSegment),
    DEFINITIONS: msgspec.msgpack.Decoder(DefinitionSegment),
    COUNTERS: msgspec.msgpack.Decoder(CounterRecord),
}
_encode = msgspec.msgpack.Encoder().encode


class Extent(NamedTuple):
    """Which part of the log counters stand for: offsets below `next_offset` of `generation`, and all earlier generations up to where they closed."""

    generation: int
    next_offset: int
    closed: tuple[int, ...] = ()

    def _end(self, generation: int) -> int:
        if generation == self.generation:
            return self.next_offset
        return self.closed[generation] if generation < len(self.closed) else -1

    def covers(self, generation: int, upto: int) -> bool:
        """True for a segment of a prefix of this: what a flush wrote that never came to its counters before its log was given up, is none."""
        return upto <= self._end(generation)

    def holds(self, rev: int) -> bool:
        """True where the event that a revision names lies in it."""
        generation, offset = split_revision(rev)
        return offset < self._end(generation)

    def is_passed_by(self, generation: int, upto: int) -> bool:
        """True where counters of that prefix would be greater than these."""
        return (generation, upto) > (self.generation, self.next_offset)


class SegmentKey(NamedTuple):
    """Kind, the writer's random epoch, and its running number."""

    kind: bytes
    epoch: bytes
    number: int

    def to_bytes(self) -> bytes:
        """The changelog key."""
        return self.kind + self.epoch + self.number.to_bytes(8, "big")


def parse_key(key: bytes | None, where: str) -> SegmentKey:
    """Raises CorruptState, naming `where`, for a key that no version of this program wrote."""
    if key is None or len(key) != 1 + EPOCH_BYTES + 8 or key[:1] not in _decoders:
        raise CorruptState(f"{where}: {key!r} is no changelog key of this program; the topic holds foreign records")
    return SegmentKey(key[:1], key[1 : 1 + EPOCH_BYTES], int.from_bytes(key[1 + EPOCH_BYTES :], "big"))


def encode_segment(segment: Segment) -> bytes:
    """Version, checksum, msgpack."""
    body = _encode(segment)
    return _head.pack(VERSION, zlib.crc32(body)) + body


def decode_segment(kind: bytes, value: bytes, where: str) -> Segment:
    """Raises CorruptState for a wrong checksum or shape and UnknownVersion for a newer program's record; both name `where`."""
    if len(value) < _head.size:
        raise CorruptState(f"{where}: the changelog record is cut short; restore usage.state from a replica or a backup")
    version, checksum = _head.unpack_from(value)
    if version != VERSION:
        raise UnknownVersion(f"{where}: changelog version {version} is unknown to this program (it knows {VERSION}); upgrade tidemark")
    body = value[_head.size :]
    if zlib.crc32(body) != checksum:
        raise CorruptState(f"{where}: the changelog record's checksum is wrong; restore usage.state from a replica or a backup")
    try:
        segment = _decoders[kind].decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptState(f"{where}: the changelog record cannot be read: {error}") from None
    if not _is_possible(segment):
        raise CorruptState(f"{where}: the changelog record holds numbers that no program of ours writes; restore usage.state from a backup")
    return segment


def _is_possible(segment: Segment) -> bool:
    """False where a number could not have been written: a checksum only says that the bytes are those of the writer."""
    if isinstance(segment, CounterRecord):
        counters = segment.counters
        fates = (counters.counted, counters.duplicate, counters.rejected, counters.too_late, counters.rerouted, counters.control, counters.skipped)
        least = min(segment.generation, segment.ids, segment.definitions, counters.base, counters.postings, *fates, *segment.closed)
        return least >= 0 and len(segment.id_key) == KEY_BYTES and len(segment.closed) == segment.generation
    if segment.generation < 0 or segment.upto < 0:
        return False
    if isinstance(segment, IdSegment):
        return 0 <= segment.bucket < 1 << 31 and len(segment.digests) % 16 == 0
    if isinstance(segment, DefinitionSegment):
        return True
    return all(
        0 <= row.generation <= segment.generation
        and min(row.first_offset, row.through_offset) >= 0
        and row.start_s < row.end_s
        and row.events > 0
        and len(row.content_hash) == 32
        for row in segment.rows
    )


def pack_row(row: Row) -> RowRecord:
    """A row's stored form."""
    window = row.window
    generation, through = split_revision(row.rev)
    emitted = split_revision(row.emitted) if row.emitted >= 0 else (-1, -1)
    return RowRecord(
        window.customer,
        window.meter,
        window.start_s,
        window.end_s,
        row.scaled.to_bytes((row.scaled.bit_length() + 8) // 8, "little", signed=True),
        row.events,
        row.first_offset,
        generation,
        through,
        *emitted,
        (row.content_hash % MODULUS).to_bytes(32, "little"),
        row.own,
    )


def unpack_row(record: RowRecord) -> Row:
    """The row of a stored form."""
    row = Row(Window(record.customer, record.meter, record.start_s, record.end_s))
    row.scaled = int.from_bytes(record.scaled, "little", signed=True)
    row.events = record.events
    row.first_offset = record.first_offset
    row.rev = revision(record.generation, record.through_offset)
    row.emitted = revision(record.emitted_generation, record.emitted_offset) if record.emitted_generation >= 0 else -1
    row.content_hash = int.from_bytes(record.content_hash, "little")
    row.own = record.own
    return row


def greater(held: Row | None, found: Row, where: str) -> Row:
    """Law 4: of two records of a row the greater revision wins; of equal ones the one `found` later, with what either knows to be emitted.

    The later one also where it knows of less: writers that do not know of each other tombstone earlier copies only, and if `emitted` decided, one
    could rely on the copy that the other gives up. One revision with two totals is corruption: halt.
    """
    if held is None:
        return found
    if held.rev == found.rev and (held.scaled, held.events, held.content_hash) != (found.scaled, found.events, found.content_hash):
        raise CorruptState(
            f"{where}: window {held.window} has two totals under one revision {split_revision(held.rev)}; "
            "do not bill from this state: keep the topics and compare with `tidemark replay`"
        )
    if held.rev == found.rev:
        found.emitted = max(found.emitted, held.emitted)
    return found if found.rev >= held.rev else held
