"""The proxy before the brokers: what it is told to spoil is spoiled, and nothing else."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from infra.embedded import ports
from tests.chaos.proxy import HOST, Proxy, client_id


def request(client: str, text: bytes) -> bytes:
    """A request as Kafka's clients begin one: size, api, version, correlation, client id; then some bytes."""
    body = struct.pack(">hhih", 3, 1, 1, len(client)) + client.encode() + text
    return struct.pack(">i", len(body)) + body


class Client:
    """One connection through the proxy to a server that answers every byte with itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def echo(self, sent: bytes, within_s: float = 5.0) -> bytes:
        """What comes back; empty where the connection ended, TimeoutError where nothing came."""
        self.writer.write(sent)
        return await self.take(len(sent), within_s)

    async def take(self, size: int, within_s: float = 5.0) -> bytes:
        """So many bytes; empty where the connection ended before, TimeoutError where they did not come."""
        async with asyncio.timeout(within_s):
            try:
                return await self.reader.readexactly(size)
            except (OSError, asyncio.IncompleteReadError):
                return b""


class Bench:
    """An echo server behind a proxy, and the clients that were connected to it."""

    def __init__(self, proxy: Proxy, port: int) -> None:
        self.proxy = proxy
        self._port = port
        self.clients: list[Client] = []

    async def open(self) -> Client:
        """A client that has said nothing yet."""
        self.clients.append(Client(*await asyncio.open_connection(HOST, self._port)))
        return self.clients[-1]

    async def connected(self, client: str) -> Client:
        """A client whose first request has been answered."""
        made = await self.open()
        first = request(client, b"hello")
        assert await made.echo(first) == first
        return made


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends back what it gets until the connection ends."""
    with suppress(OSError):
        while data := await reader.read(1024):
            writer.write(data)
    writer.close()


@asynccontextmanager
async def proxied() -> AsyncIterator[Bench]:
    """An echo server behind a proxy; everything is closed at the end."""
    chosen = ports.choose(["server", "link"], {})
    bench = Bench(Proxy(), chosen["link"])
    async with await asyncio.start_server(answer, HOST, chosen["server"]):
        await bench.proxy.listen("kafka", chosen["link"], chosen["server"])
        yield bench
        await bench.proxy.close()
        for client in bench.clients:
            client.writer.transport.abort()
        await asyncio.sleep(0.05)


def test_a_client_is_known_by_its_first_request() -> None:
    """The client id stands where every Kafka request has it, and what is no request has none."""
    assert client_id(request("meter-0", b"rest")) == "meter-0"
    assert client_id(b"") == client_id(b"short") == ""


@pytest.mark.asyncio
async def test_one_client_is_cut_and_the_other_goes_on() -> None:
    """A cut ends the connections that it names and no other; a new connection works at once."""
    async with proxied() as bench:
        meter, report = await bench.connected("meter-0"), await bench.connected("report")
        assert await bench.proxy.trouble({"do": "cut", "who": "meter"}) == 1
        assert await meter.echo(b"lost") == b""
        assert await report.echo(b"here") == b"here"
        await bench.connected("meter-0")


@pytest.mark.asyncio
@pytest.mark.parametrize("way", ["hold_requests", "hold_answers", "hold_both"])
async def test_what_is_held_arrives_late_or_never(way: str) -> None:
    """While it is held nothing arrives; healed, it all arrives in order, or the connection ends where that was asked."""
    for cut_after in (False, True):
        async with proxied() as bench:
            client = await bench.connected("meter-0")
            await bench.proxy.trouble({"do": way, "seconds": 60.0, "cut_after": cut_after})
            with pytest.raises(TimeoutError):
                await client.echo(b"first", within_s=0.2)
            bench.proxy.heal()
            assert await client.take(len(b"first")) == (b"" if cut_after else b"first")


@pytest.mark.asyncio
async def test_refused_and_slowed() -> None:
    """A refused client gets no connection until the trouble is over; a slowed one gets all its bytes."""
    async with proxied() as bench:
        await bench.proxy.trouble({"do": "refuse", "who": "meter", "seconds": 60.0})
        refused = await bench.open()
        assert await refused.echo(request("meter-0", b"hello")) == b""
        await bench.proxy.trouble({"do": "slow", "seconds": 60.0, "delay_s": 0.05})
        assert await (await bench.connected("report")).echo(b"slowly") == b"slowly"
        bench.proxy.heal()
        await bench.connected("meter-0")
