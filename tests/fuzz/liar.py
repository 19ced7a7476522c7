"""A server on loopback that answers each HTTP request with whatever bytes it was told to, and then hangs up."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from random import Random

from tests.fuzz.mutate import damaged, token

Answering = Callable[[bytes], bytes]


class Liar:
    """`answering` maps a whole request to the bytes of its answer; `reset` lets the connection end without goodbye."""

    def __init__(self) -> None:
        self.answering: Answering = lambda _: b""
        self.reset = False
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._socket.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._serve, name="liar", daemon=True)

    def __enter__(self) -> Liar:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.settimeout(5)
                connection.sendall(self.answering(_request(connection)))
                if self.reset:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _request(connection: socket.socket) -> bytes:
    """The bytes of one request with its body, as its headers say."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += (more := connection.recv(65_536))
        if not more:
            return data
    head, _, body = data.partition(b"\r\n\r\n")
    names = {line.partition(b":")[0].strip().lower(): line.partition(b":")[2].strip() for line in head.split(b"\r\n")[1:]}
    if names.get(b"transfer-encoding") == b"chunked":
        while not body.endswith(b"0\r\n\r\n"):
            body += (more := connection.recv(65_536))
            if not more:
                break
        return head + b"\r\n\r\n" + body
    wanted = int(names.get(b"content-length", b"0"))
    while len(body) < wanted:
        body += (more := connection.recv(65_536))
        if not more:
            break
    return head + b"\r\n\r\n" + body


def reply(body: bytes, status: int = 200, **headers: str) -> bytes:
    """A right answer."""
    named = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{named}\r\n".encode() + body


STATUSES = (200, 200, 201, 204, 206, 300, 301, 307, 308, 400, 401, 402, 403, 404, 405, 408, 409, 410, 418, 429, 451, 500, 502, 503, 504, 520, 599)
PAGES = (
    b"<html><body>502 Bad Gateway</body></html>", b"", b"null", b"[]", b"{}", b'"x"', b"0", b"{", b"\xff\xfe", b"\x00", b"[[]]", b'{"error":null}',
    b'{"error":"x"}', b'{"error":[]}', b'{"error":{"type":1,"message":2,"code":3,"param":4}}', b'{"error":{"message":{"a":1}}}',
    b'{"error":{}}', b"NaN",
    b'{"object":"list","data":null}', b'{"object":"list","data":{}}', b'{"object":"list","data":"abc","has_more":true}',
    b'{"data":[null],"has_more":true}',
    b'{"data":[1],"has_more":true}', b'{"data":[{"id":null}],"has_more":true}', b'{"data":[{}],"has_more":true}', b'{"data":5}', b'{"deleted":true}',
    b'{"object":"event"}',
)  # fmt: skip


def cut(rng: Random, good: bytes) -> bytes:
    """A right answer, or its beginning, or a failure that says so by its status."""
    match rng.randrange(4):
        case 0:
            return reply(good)[: rng.randrange(len(good) + 40)]
        case 1:
            return reply(good[: rng.randrange(len(good) + 1)])
        case 2:
            return reply(rng.choice(PAGES), rng.choice((400, 401, 403, 404, 408, 429, 500, 502, 503)))
        case _:
            return reply(good)


def lie(rng: Random, good: bytes) -> bytes:
    """An answer that is right, nearly right, somebody else's, cut, or no HTTP at all."""
    status = rng.choice(STATUSES) if rng.random() < 0.5 else 200
    body = rng.choice((good, good, damaged(rng, good), good[: rng.randrange(len(good) + 1)], rng.choice(PAGES), token(rng)))
    headers = {"Request_Id": rng.choice(("req_1", "\xe9", "", "x" * 300))}
    if rng.random() < 0.3:
        name = rng.choice(
            ("Content_Type", "Content_Encoding", "Idempotent_Replayed", "Stripe_Should_Retry", "Retry_After", "Location", "Transfer_Encoding")
        )
        headers[name] = rng.choice(("true", "gzip", "chunked", "text/html", "-1", "99999999999999999999", "http://127.0.0.1:1/", "br", "\x01"))
    whole = reply(body, status, **headers)
    match rng.randrange(8):
        case 0:
            return damaged(rng, whole)
        case 1:
            return whole[: rng.randrange(len(whole) + 1)]
        case 2:
            return whole.replace(b"Content-Length: ", rng.choice((b"Content-Length: 9", b"Content-Length: -", b"X: ", b"Content-Length: x")))
        case _:
            return whole


@contextmanager
def lying() -> Iterator[Liar]:
    """A liar that listens."""
    with Liar() as liar:
        yield liar
