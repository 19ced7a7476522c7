"""Bodies: taken off the wire whatever way they are framed or compressed, and compressed for the way back."""

from __future__ import annotations

import re
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import lz4.frame  # type: ignore[import-untyped]

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from topics.errors import TidemarkError

PIECE_BYTES = 1024 * 1024
"""How much of a body is held at a time: large enough for the engine to parse at full speed, small against its memory."""


_HEXADECIMAL = re.compile(rb"[0-9a-fA-F]{1,15}")


class BrokenBody(TidemarkError):
    """The body ended early, or is not what its headers say."""


class Readable(Protocol):
    """What a body is read from: a socket's file."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; fewer only at the end."""
        ...

    def readline(self, limit: int, /) -> bytes:
        """Up to a line end, at most `limit` bytes."""
        ...


class _Decoder(Protocol):
    """One frame's decompressor, as lz4, zstd and zlib have it."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def read_body(stream: Readable, headers: Mapping[str, str]) -> Iterator[bytes]:
    """The pieces of a request's body, by Content-Length or chunked; raises BrokenBody where the client went away in the middle."""
    if headers.get("Transfer-Encoding", "").lower() == "chunked":
        yield from _read_chunked(stream)
        return
    length = headers.get("Content-Length", "0").strip()
    if not length.isdecimal() or len(length) > 18:
        raise BrokenBody("the request's Content-Length is no number")
    left = int(length)
    while left:
        piece = stream.read(min(left, PIECE_BYTES))
        if not piece:
            raise BrokenBody(f"the request's body ended {left} bytes early")
        left -= len(piece)
        yield piece


def _read_chunked(stream: Readable) -> Iterator[bytes]:
    """The pieces of a body in HTTP/1.1 chunks (RFC 9112 §7.1); trailers are read and dropped."""
    while True:
        line = stream.readline(1024)
        digits = line.split(b";")[0].strip()
        if not _HEXADECIMAL.fullmatch(digits):
            raise BrokenBody("the request's body ended inside its chunks")
        size = int(digits, 16)
        if size == 0:
            while stream.readline(65_536) not in {b"\r\n", b"\n", b""}:
                pass
            return
        piece = stream.read(size)
        if len(piece) != size or stream.readline(8) not in {b"\r\n", b"\n"}:
            raise BrokenBody("the request's body ended inside a chunk")
        yield piece


def decode(pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """The pieces of a body without its Content-Encoding.

    A body may be many frames one after the other (clickhouse-connect makes each Native block its own lz4 frame); decoding only the
    first would store a part of the rows and say nothing.
    """
    if encoding in {"", "identity"}:
        yield from pieces
        return
    frames = _Frames(_decoder(encoding))
    for piece in pieces:
        try:
            out = frames.feed(piece)
        except (RuntimeError, zlib.error, zstd.ZstdError, EOFError) as error:
            raise BrokenBody(f"the body is not valid {encoding}: {error}") from error
        if out:
            yield out
    if frames.is_inside:
        raise BrokenBody(f"the {encoding} body ended in the middle of a frame")


class _Frames:
    """Decompresses frame after frame; `make` makes a decompressor for one."""

    def __init__(self, make: Callable[[], _Decoder]) -> None:
        self._make = make
        self._decoder: _Decoder | None = None

    @property
    def is_inside(self) -> bool:
        """Whether a frame has begun and not ended."""
        return self._decoder is not None

    def feed(self, data: bytes) -> bytes:
        """What these bytes decompress to, over as many frames as they hold."""
        out = []
        while data:
            decoder = self._decoder or self._make()
            out.append(decoder.decompress(data))
            data = (decoder.unused_data or b"") if decoder.eof else b""
            self._decoder = None if decoder.eof else decoder
        return b"".join(out)


def _decoder(encoding: str) -> Callable[[], Any]:
    """What makes a decompressor for one frame of this Content-Encoding."""
    makers: dict[str, Callable[[], Any]] = {
        "lz4": lz4.frame.LZ4FrameDecompressor,
        "zstd": zstd.ZstdDecompressor,
        "gzip": lambda: zlib.decompressobj(wbits=31),
        "deflate": zlib.decompressobj,
    }
    if encoding not in makers:
        raise BrokenBody(f"Content-Encoding {encoding} is not served here: use lz4, zstd, gzip, deflate or none")
    return makers[encoding]


def choose_encoding(accepted: str, is_enabled: bool) -> str:
    """The encoding of a response: the cheapest that the client accepts, none unless it asked for compression (as a server does)."""
    names = {part.split(";")[0].strip().lower() for part in accepted.split(",")}
    if not is_enabled:
        return ""
    return next((name for name in ("lz4", "zstd", "gzip", "deflate") if name in names), "")


def encode(pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """The pieces of a response as one frame of this encoding."""
    makers: dict[str, Callable[[], Any]] = {
        "lz4": lz4.frame.LZ4FrameCompressor,
        "zstd": zstd.ZstdCompressor,
        "gzip": lambda: zlib.compressobj(level=1, wbits=31),
        "deflate": lambda: zlib.compressobj(level=1),
    }
    if encoding == "":
        yield from pieces
        return
    compressor = makers[encoding]()
    if encoding == "lz4":
        yield compressor.begin()
    for piece in pieces:
        yield compressor.compress(piece)
    yield compressor.flush()
