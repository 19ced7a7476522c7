"""Answers that are received in place are the bytes that were sent, whatever pieces they come in, and a connection that ends is noticed."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from aiokafka import conn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from infra.delivery_socket import LARGE_BYTES, SCRATCH_BYTES, InPlaceProtocol, InPlaceReader, receive_in_place

SIZES = (0, 1, 4, 1000, SCRATCH_BYTES, LARGE_BYTES - 1, LARGE_BYTES, LARGE_BYTES + 1, 1_000_000, 3_000_000)


def contexts(directory: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS for a server on 127.0.0.1 and for whoever trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False).sign(key, hashes.SHA256())
    )  # fmt: skip
    file = directory / "broker.pem"
    pem = serialization.Encoding.PEM
    file.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()) + certificate.public_bytes(pem)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cafile=str(file))


@asynccontextmanager
async def connected(
    pieces: list[bytes], tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None, *, reset: bool = False
) -> AsyncIterator[InPlaceReader]:
    """A reader of a server that sends these pieces and ends, or resets the connection."""

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if reset:
            raw: socket.socket = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls[0] if tls else None)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**16, loop=loop)
    protocol = InPlaceProtocol(loop.create_future(), reader, loop=loop)
    transport, _ = await loop.create_connection(lambda: protocol, *server.sockets[0].getsockname(), ssl=tls[1] if tls else None)
    try:
        assert isinstance(reader, InPlaceReader)
        yield reader
    finally:
        transport.close()
        server.close()


def cut(rng: random.Random, data: bytes) -> list[bytes]:
    """The bytes in pieces."""
    pieces = []
    while data:
        size = rng.choice((7, 4096, 70_000, 2_000_000)) + len(data) // 20
        pieces.append(data[:size])
        data = data[size:]
    return pieces


@pytest.mark.parametrize("seed", range(6))
async def test_every_answer_is_what_was_sent(seed: int, tmp_path: Path) -> None:
    """Small and large answers one behind the other, in pieces of any size, plain and over TLS."""
    rng = random.Random(seed)
    answers = [rng.randbytes(rng.choice(SIZES)) for _ in range(8)]
    stream = b"".join(len(answer).to_bytes(4, "big") + answer for answer in answers)
    single = rng.randrange(9)  # at the front, where they cut a length and a beginning
    pieces = [stream[at : at + 1] for at in range(single)] + cut(rng, stream[single:])
    async with asyncio.timeout(60), connected(pieces, contexts(tmp_path) if seed % 3 == 0 else None) as reader:
        for answer in answers:
            size = int.from_bytes(await reader.readexactly(4), "big")
            assert bytes(await reader.readexactly(size)) == answer
        with pytest.raises(asyncio.IncompleteReadError):
            await reader.readexactly(4)


@pytest.mark.parametrize("came", [0, 10, LARGE_BYTES - 1, 2 * LARGE_BYTES])
async def test_a_connection_that_ends_inside_an_answer_is_noticed(came: int) -> None:
    """The reader raises what asyncio's own would, with what has come, instead of waiting for ever or handing over half an answer."""
    async with asyncio.timeout(60), connected([b"x" * came]) as reader:
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await reader.readexactly(3 * LARGE_BYTES)
    assert (caught.value.partial, caught.value.expected) == (b"x" * came, 3 * LARGE_BYTES)


async def test_a_reset_connection_is_noticed() -> None:
    """A broker that dies under a large answer ends the wait."""
    async with asyncio.timeout(60), connected([b"x" * LARGE_BYTES], reset=True) as reader:
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(50 * LARGE_BYTES)


async def test_a_wait_that_is_cancelled_ends() -> None:
    """aiokafka cancels its reader when it closes a connection; what comes then is dropped without an error."""
    reader = asyncio.StreamReader(limit=2**16)
    protocol = InPlaceProtocol(asyncio.get_running_loop().create_future(), reader, loop=asyncio.get_running_loop())
    protocol.get_buffer(-1)[:4] = b"abcd"
    protocol.buffer_updated(4)
    waiting = asyncio.ensure_future(reader.readexactly(LARGE_BYTES))
    await asyncio.sleep(0)
    assert len(protocol.get_buffer(-1)) == LARGE_BYTES - 4
    waiting.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
    protocol.buffer_updated(0)
    assert len(protocol.get_buffer(-1)) == SCRATCH_BYTES


def test_aiokafkas_connections_receive_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name that aiokafka makes its connections with is ours after delivery was installed."""
    monkeypatch.setattr(conn, "AIOKafkaProtocol", conn.AIOKafkaProtocol)
    receive_in_place()
    assert conn.AIOKafkaProtocol is InPlaceProtocol
