"""Asks a broker whether it serves: one Metadata request, written by hand so that whoever waits needs no Kafka client."""

from __future__ import annotations

import socket
import struct

METADATA_V1 = struct.pack(">hhi", 3, 1, 1) + struct.pack(">h", 5) + b"probe" + struct.pack(">i", 0)
"""Request header (api 3, version 1, correlation 1, client `probe`) and an empty list of topics."""


def brokers_alive(host: str, port: int, timeout_s: float) -> int:
    """How many brokers the one at this address knows as serving; 0 when it does not answer (yet).

    An open port is not enough: a broker listens before its controller has let it in, and until then it knows of no topic.
    """
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(struct.pack(">i", len(METADATA_V1)) + METADATA_V1)
            with connection.makefile("rb") as stream:
                answer = stream.read(12)
    except OSError:
        return 0
    if len(answer) < 12:
        return 0
    _size, _correlation, brokers = struct.unpack(">iii", answer)
    return int(brokers)
