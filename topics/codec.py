"""Bytes and records: JSON with a version `v` in every stored record; an unknown version stops the reader with a clear sentence."""

from __future__ import annotations

import hashlib
from typing import TypeVar

import msgspec

from topics.errors import MalformedRecord, UnknownVersion

VERSION = 1
T = TypeVar("T")
_encoder = msgspec.json.Encoder(order="deterministic")


class _Versioned(msgspec.Struct):
    v: int


_version = msgspec.json.Decoder(_Versioned)


def encode(record: object) -> bytes:
    """JSON bytes; the same record gives the same bytes, always (a window's body is compared byte for byte)."""
    return _encoder.encode(record)


def decode(data: bytes | None, decoder: msgspec.json.Decoder[T], where: str) -> T:
    """A stored record. Raises UnknownVersion or MalformedRecord, naming `where` (topic, partition, offset)."""
    try:
        version = _version.decode(data or b"").v
        if version != VERSION:
            raise UnknownVersion(f"{where}: record version {version} is unknown to this program (it knows {VERSION}); upgrade tidemark")
        return decoder.decode(data or b"")
    except msgspec.DecodeError as error:
        raise MalformedRecord(f"{where}: the record cannot be read: {error}") from None


def digest(value: object) -> str:
    """SHA-256 of a value's canonical JSON: the name of a version of the meters or of a customer's items."""
    return hashlib.sha256(_encoder.encode(value)).hexdigest()
