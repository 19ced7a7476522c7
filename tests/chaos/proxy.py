"""`python -m tests.chaos.proxy --control PORT NAME=LISTEN:TARGET…`: stands between Kafka's clients and its brokers, and spoils what it is told to.

Brokers advertise the proxy's ports to clients and talk to each other elsewhere, so every byte of every producer and worker passes here.
A connection is known by the client id of its first request, so that one worker can be cut off while all others go on.
POST /trouble takes one `Trouble` as JSON; POST /heal ends all; GET /live; GET /seen counts what was done.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass, field
from random import Random
from typing import Any

from aiohttp import web

HOST = "127.0.0.1"
CHUNK_BYTES = 65_536
LOOK_S = 0.02
"""How often a held connection looks whether its trouble is over."""
DOES = ("cut", "refuse", "slow", "hold_requests", "hold_answers", "hold_both")


@dataclass(frozen=True)
class Trouble:
    """What is done to connections until `until_s` (the loop's clock).

    `cut` ends those that stand, `refuse` also every new one; `slow` delays each chunk by `delay_s`; `hold_…` lets nothing through in these
    directions, as a network does that lost its way back. `link` and `who` (how client ids begin, by commas) say whose, empty: everybody's;
    `share` of them by `seed`. `cut_after`: what was held never arrives, its connection ends; otherwise it arrives late.
    """

    do: str
    until_s: float
    link: str = ""
    who: str = ""
    share: float = 1.0
    seed: int = 0
    delay_s: float = 0.0
    cut_after: bool = False

    def meets(self, connection: Connection) -> bool:
        """Whether a connection is among those that it is about."""
        if not connection.link.startswith(self.link) or not connection.client.startswith(tuple(self.who.split(","))):
            return False
        return self.share >= 1.0 or Random(f"{self.seed}/{connection.number}").random() < self.share


@dataclass(eq=False)
class Connection:
    """One client's connection to one broker."""

    number: int
    link: str
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    client: str = ""
    is_over: bool = False

    def abort(self) -> None:
        """Ends both sides with a reset: nobody gets what was under way."""
        self.is_over = True
        for writer in self.writers:
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


def client_id(first: bytes) -> str:
    """The client id in the first bytes of a connection: size, api, version, correlation, then the id's length and text."""
    if len(first) < 14:
        return ""
    (length,) = struct.unpack_from(">h", first, 12)
    return first[14 : 14 + length].decode("utf-8", "replace") if length > 0 else ""


class Proxy:
    """All links of a stack and what troubles them now."""

    def __init__(self) -> None:
        self.connections: set[Connection] = set()
        self.troubles: list[Trouble] = []
        self.seen = {"connections": 0, "bytes": 0, "aborted": 0}
        self._servers: list[asyncio.Server] = []

    async def listen(self, link: str, port: int, target: int) -> None:
        """Opens one link."""
        self._servers.append(await asyncio.start_server(lambda reader, writer: self._serve(link, target, reader, writer), HOST, port))

    async def close(self) -> None:
        """Ends every link and connection; returns when nothing of them runs."""
        for server in self._servers:
            server.close()
        self._abort(list(self.connections))
        while self.connections:
            await asyncio.sleep(LOOK_S)

    async def trouble(self, asked: dict[str, Any]) -> int:
        """Begins a trouble of `seconds`; how many connections it met at once."""
        loop = asyncio.get_running_loop()
        seconds = float(asked.pop("seconds", 0.0))
        trouble = Trouble(until_s=loop.time() + seconds, **asked)
        met = [each for each in self.connections if trouble.meets(each)]
        if trouble.do in {"cut", "refuse"}:
            self._abort(met)
        if seconds:
            self.troubles.append(trouble)
            loop.call_later(seconds, self._end, trouble)
        return len(met)

    def heal(self) -> None:
        """Ends every trouble now; what was held goes on or is cut, as it said."""
        for trouble in list(self.troubles):
            self._end(trouble)

    def _end(self, trouble: Trouble) -> None:
        if trouble in self.troubles:
            self.troubles.remove(trouble)
            if trouble.cut_after:
                self._abort([each for each in self.connections if trouble.meets(each)])

    def _abort(self, connections: list[Connection]) -> None:
        for each in connections:
            self.seen["aborted"] += 1
            each.abort()

    async def _serve(self, link: str, target: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection from its first byte to its last."""
        self.seen["connections"] += 1
        connection = Connection(self.seen["connections"], link, [writer])
        try:
            first = await reader.read(CHUNK_BYTES)
            connection.client = client_id(first)
            if not first or any(each.do == "refuse" and each.meets(connection) for each in self.troubles):
                connection.abort()
                return
            back, forth = await asyncio.open_connection(HOST, target)
            connection.writers.append(forth)
            self.connections.add(connection)
            pumps = self._pump(connection, reader, forth, "requests", first), self._pump(connection, back, writer, "answers")
            await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            connection.is_over = True
        finally:
            connection.abort()
            self.connections.discard(connection)

    async def _pump(self, connection: Connection, source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: str, data: bytes = b"") -> None:
        """Carries bytes one way until one side ends; then the other is ended too, as a broker's death would."""
        try:
            while data := data or await source.read(CHUNK_BYTES):
                await self._gate(connection, way)
                self.seen["bytes"] += len(data)
                sink.write(data)
                data = b""
                await sink.drain()
        finally:
            if not sink.is_closing():
                sink.close()

    async def _gate(self, connection: Connection, way: str) -> None:
        """Returns when a chunk may pass."""
        held = {f"hold_{way}", "hold_both"}
        while not connection.is_over and any(each.do in held and each.meets(connection) for each in self.troubles):
            await asyncio.sleep(LOOK_S)
        delays_s = [each.delay_s for each in self.troubles if each.do == "slow" and each.meets(connection)]
        if delays_s:
            await asyncio.sleep(max(delays_s))


def application(proxy: Proxy) -> web.Application:
    """The control port."""

    async def trouble(request: web.Request) -> web.Response:
        asked = await request.json()
        if asked.get("do") not in DOES:
            return web.json_response({"error": f"`do` is one of {', '.join(DOES)}"}, status=400)
        return web.json_response({"met": await proxy.trouble(asked)})

    async def heal(request: web.Request) -> web.Response:
        proxy.heal()
        return web.json_response({})

    async def live(request: web.Request) -> web.Response:
        return web.json_response({"troubles": len(proxy.troubles)})

    async def seen(request: web.Request) -> web.Response:
        return web.json_response({**proxy.seen, "clients": sorted({each.client for each in proxy.connections})})

    made = web.Application()
    made.add_routes([web.post("/trouble", trouble), web.post("/heal", heal), web.get("/live", live), web.get("/seen", seen)])
    return made


async def serve(control: int, links: list[str]) -> None:
    """Runs until it is ended."""
    proxy = Proxy()
    for link in links:
        name, _, ports = link.partition("=")
        listen, _, target = ports.partition(":")
        await proxy.listen(name, int(listen), int(target))
    runner = web.AppRunner(application(proxy), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, control).start()
    await asyncio.Event().wait()


def main() -> None:
    """The proxy's process."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.proxy", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--control", type=int, required=True, help="port of the control interface")
    parser.add_argument("links", nargs="+", metavar="NAME=LISTEN:TARGET")
    given = parser.parse_args()
    asyncio.run(serve(given.control, given.links))


if __name__ == "__main__":
    main()
