"""Asks processes how they do, many at once and none for long, without any client library."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from dataclasses import dataclass
from typing import Any

from infra.embedded.kafka_probe import METADATA_V1
from infra.embedded.plan import Probe
from infra.embedded.ports import HOST

TIMEOUT_S = 3.0
"""Of one question: a loop that is busy for longer is asked again; only silence over many questions counts."""

ANSWER_MAX_BYTES = 4 * 1024 * 1024
"""A `/status` of a thousand partitions is 300 kB; beyond this something else answers on the port."""


@dataclass(frozen=True)
class Answer:
    """What a process said: `is_live`, `is_ready`, and its `/status` document if it is a worker."""

    is_live: bool
    is_ready: bool
    status: dict[str, Any] | None = None


async def ask(probe: Probe) -> Answer:
    """Asks one process; a process that does not answer in time is not live."""
    with contextlib.suppress(TimeoutError, OSError, ValueError, IndexError, asyncio.IncompleteReadError):
        async with asyncio.timeout(TIMEOUT_S):
            if probe.kind == "kafka":
                is_serving = await _brokers(probe.port) > 0
                return Answer(is_serving, is_serving)
            is_live = (await get(probe.port, probe.live))[0] == 200
            is_ready = is_live and (probe.ready == probe.live or (await get(probe.port, probe.ready))[0] == 200)
            status = await _status(probe.port, probe.status) if is_live and probe.status else None
            return Answer(is_live, is_ready, status)
    return Answer(is_live=False, is_ready=False)


async def get(port: int, path: str) -> tuple[int, bytes]:
    """Status and body of a GET; HTTP/1.0, so that the answer is whole when the connection ends."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(f"GET {path} HTTP/1.0\r\nHost: {HOST}:{port}\r\n\r\n".encode())
        answer = await reader.read(-1)
    finally:
        writer.close()
    head, _, body = answer[:ANSWER_MAX_BYTES].partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), body


async def _status(port: int, path: str) -> dict[str, Any] | None:
    """A worker's `/status` document; None where it has none to give yet."""
    code, body = await get(port, path)
    document = json.loads(body) if code == 200 else None
    return document if isinstance(document, dict) else None


async def _brokers(port: int) -> int:
    """How many brokers the one on this port knows as serving (see kafka_probe)."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(struct.pack(">i", len(METADATA_V1)) + METADATA_V1)
        _size, _correlation, brokers = struct.unpack(">iii", await reader.readexactly(12))
        return int(brokers)
    finally:
        writer.close()
