"""Law 4, the changelog: packed segments, each key written once (`kind | writer epoch | n`), merged by max and never by order.

A segment is written whole by one flush and says which prefix of the log it belongs to (`generation`, `upto`). What a crashed flush left behind
belongs to a prefix without counters (`streams/recovery.py`); because a row's value is a pure function of the log, two writers never contradict.
Value: version byte, CRC-32 of the rest (a flipped byte must halt, never be guessed at), msgpack.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.duplicates import KEY_BYTES
from streams.row_segments import PackedRows, RowColumns, RowSegment, columns_of, unpack_rows
from streams.state import Clocks, Identity, Retired
from topics.errors import CorruptState, UnknownVersion
from topics.verdict import Counters

ROWS: Final = b"r"
IDS: Final = b"i"
DEFINITIONS: Final = b"d"
COUNTERS: Final = b"c"
EPOCH_BYTES: Final = 8
VERSION: Final = 1
ROWS_VERSION: Final = 2
"""Of rows as columns (`streams/row_segments.py`); everything else, and rows of earlier programs, are version 1."""
ROWS_A_SEGMENT: Final = 4000
"""About 60 bytes a row and its names: 0.3 MB, well under the topic's 2 MiB even with 256-byte customer names."""
IDS_A_SEGMENT: Final = 40_000
"""16 bytes an id: 640 kB."""
ROW_BYTES: Final = 700_000
"""Names may be long: a segment is also closed at this many bytes of names, or of definitions."""
_head = struct.Struct(">BI")


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


Segment = RowColumns | IdSegment | DefinitionSegment | CounterRecord
_Stored = RowSegment | PackedRows | IdSegment | DefinitionSegment | CounterRecord
_decoders: dict[bytes, msgspec.msgpack.Decoder[_Stored]] = {
    ROWS: msgspec.msgpack.Decoder(RowSegment),
    IDS: msgspec.msgpack.Decoder(IdSegment),
    DEFINITIONS: msgspec.msgpack.Decoder(DefinitionSegment),
    COUNTERS: msgspec.msgpack.Decoder(CounterRecord),
}
_packed_decoder: msgspec.msgpack.Decoder[_Stored] = msgspec.msgpack.Decoder(PackedRows)
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

    def holds_each(self, generations: NDArray[Any], offsets: NDArray[Any]) -> NDArray[np.bool_]:
        """True where the events that revisions name lie in it."""
        held = np.zeros(len(offsets), bool)
        for generation in np.unique(generations).tolist():
            held |= (generations == generation) & (offsets < self._end(generation))
        return held

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


def encode_segment(segment: _Stored) -> bytes:
    """Version, checksum, msgpack."""
    body = _encode(segment)
    return _head.pack(ROWS_VERSION if isinstance(segment, PackedRows) else VERSION, zlib.crc32(body)) + body


def decode_segment(kind: bytes, value: bytes, where: str) -> Segment:
    """Raises CorruptState for a wrong checksum or shape and UnknownVersion for a newer program's record; both name `where`."""
    if len(value) < _head.size:
        raise CorruptState(f"{where}: the changelog record is cut short; restore usage.state from a replica or a backup")
    version, checksum = _head.unpack_from(value)
    known = ROWS_VERSION if kind == ROWS else VERSION
    if not VERSION <= version <= known:
        raise UnknownVersion(f"{where}: changelog version {version} is unknown to this program (it knows {known}); upgrade tidemark")
    body = value[_head.size :]
    if zlib.crc32(body) != checksum:
        raise CorruptState(f"{where}: the changelog record's checksum is wrong; restore usage.state from a replica or a backup")
    try:
        stored = (_packed_decoder if version == ROWS_VERSION else _decoders[kind]).decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptState(f"{where}: the changelog record cannot be read: {error}") from None
    segment = _possible(stored)
    if segment is None:
        raise CorruptState(f"{where}: the changelog record holds numbers that no program of ours writes; restore usage.state from a backup")
    return segment


def _possible(stored: _Stored) -> Segment | None:
    """None where a number could not have been written: a checksum only says that the bytes are those of the writer."""
    if isinstance(stored, CounterRecord):
        counters = stored.counters
        fates = (counters.counted, counters.duplicate, counters.rejected, counters.too_late, counters.rerouted, counters.control, counters.skipped)
        least = min(stored.generation, stored.ids, stored.definitions, counters.base, counters.postings, *fates, *stored.closed)
        return stored if least >= 0 and len(stored.id_key) == KEY_BYTES and len(stored.closed) == stored.generation else None
    if stored.generation < 0 or stored.upto < 0:
        return None
    if isinstance(stored, PackedRows):
        return unpack_rows(stored)
    if isinstance(stored, RowSegment):
        return columns_of(stored)
    if isinstance(stored, IdSegment) and not (0 <= stored.bucket < 1 << 31 and len(stored.digests) % 16 == 0):
        return None
    return stored
