"""Bytes and records: JSON with a version `v` and a checksum in every stored record; what contradicts either stops the reader with a clear sentence.

A stored record of ours ends in `,"crc":"0123abcd"}`: CRC-32 of all bytes before that member. One flipped byte of a record is always found, and the
record named; without it a digit that turned into another digit would be billed (`infra/docs/decisions/0003-…`). Version 1 had no checksum and is
still read.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final, TypeVar
from zlib import crc32

import msgspec

from topics.errors import MalformedRecord, UnknownVersion

VERSION: Final = 2
"""Of stored records: 1 had no checksum. Whoever knows only 1 stops at 2 with a clear sentence, as a program must that cannot check what it reads."""
CONTROL_VERSION: Final = 1
"""Of the data of control records; they are events that anyone may write, and name themselves by a digest."""
T = TypeVar("T")
_encoder = msgspec.json.Encoder(order="deterministic")
_SEAL: Final = re.compile(rb',"crc":"([0-9a-f]{8})"\}')
_SEAL_BYTES: Final = len(b',"crc":"01234567"}')


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every record that we store and read again."""

    v: int = VERSION


class _Versioned(msgspec.Struct):
    v: int


_version = msgspec.json.Decoder(_Versioned)


def encode(record: object) -> bytes:
    """JSON bytes, sealed where the record is a `Stored` one. The same record gives the same bytes, always: a window's body is compared by them."""
    if not isinstance(record, Stored):
        return _encoder.encode(record)
    body = _encoder.encode(record)[:-1]
    return b'%b,"crc":"%08x"}' % (body, crc32(body))


def decode(data: bytes | None, decoder: msgspec.json.Decoder[T], where: str) -> T:
    """A stored record. Raises UnknownVersion or MalformedRecord, naming `where` (topic, partition, offset)."""
    data = data or b""
    sealed = is_sealed(data, where)
    try:
        version = _version.decode(data).v
        if version not in {1, VERSION}:
            raise UnknownVersion(f"{where}: record version {version} is unknown to this program (it knows 1 to {VERSION}); upgrade tidemark")
        record = decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRecord(f"{where}: the record cannot be read: {error}") from None
    if sealed != (version == VERSION):
        raise MalformedRecord(f"{where}: the record is of version {version} and has {'a' if sealed else 'no'} checksum; restore it from a replica")
    if isinstance(record, Stored) and record.v != VERSION:
        return msgspec.structs.replace(record, v=VERSION)
    return record


def is_sealed(data: bytes, where: str) -> bool:
    """True where the bytes end in their checksum, False where they carry none. Raises MalformedRecord where it is not theirs."""
    found = _SEAL.fullmatch(data, max(0, len(data) - _SEAL_BYTES))
    if found is None:
        return False
    if crc32(data[:-_SEAL_BYTES]) != int(found[1], 16):
        raise MalformedRecord(f"{where}: the record's checksum is wrong; restore it from a replica or a backup")
    return True


def digest(value: object) -> str:
    """SHA-256 of a value's canonical JSON: the name of a version of the meters or of a customer's items."""
    return hashlib.sha256(_encoder.encode(value)).hexdigest()
