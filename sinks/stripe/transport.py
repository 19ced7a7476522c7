"""HTTP under Stripe's client: few connections kept open, and a last look at the clock between "connected" and "sent".

Stripe's own transports look nothing up before they send, so a thread that was suspended in between would post an intent whose key Stripe has
forgotten (H22). Here nothing can wait between that look and the socket. http.client costs 0.3 ms a call; 16 threads make 2,000 calls a second.
"""

from __future__ import annotations

import select
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import stripe

TIMEOUT_S: Final = 20.0
"""For connecting and for each read. Stripe answers a usage record in a fraction of a second; what takes longer is asked again, same key."""


MOST_BYTES: Final = 64 * 1024 * 1024
"""Of an answer. A page of a hundred subscriptions is a few hundred kB; what announces more comes from somebody else, and memory is not his."""


class NoAnswer(stripe.APIConnectionError):
    """No whole answer came: what was sent may have been executed."""

    def __init__(self, message: str) -> None:
        super().__init__(message, should_retry=False)  # type: ignore[no-untyped-call]


class NotSent(NoAnswer):
    """Nothing left this machine: the connection could not be made."""


class TooLateToSend(NoAnswer):
    """Nothing left this machine: the guard said no at the last moment."""


class Connections(stripe.HTTPClient):
    """Connections to one base address, taken and given back by the threads that call."""

    name = "tidemark"

    def __init__(self, base: str, timeout_s: float = TIMEOUT_S) -> None:
        super().__init__()
        parts = urlsplit(base)
        self._host, self._port = parts.hostname or "", parts.port
        self._context = ssl.create_default_context(cafile=stripe.ca_bundle_path) if parts.scheme == "https" else None
        self._through = None if proxy_bypass(self._host) else getproxies().get(parts.scheme)
        self._timeout_s = timeout_s
        self._idle: list[HTTPConnection] = []
        self._lock = threading.Lock()
        self._guards = threading.local()

    @contextmanager
    def guarded(self, may_send: Callable[[], bool]) -> Iterator[None]:
        """Requests of this thread inside the block are sent only if `may_send()` is true once the connection stands."""
        self._guards.may_send = may_send
        try:
            yield
        finally:
            self._guards.may_send = None

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None, *, _usage: list[str] | None = None
    ) -> tuple[str, int, Any]:
        """One request, one answer. Raises NoAnswer; NotSent and TooLateToSend where nothing was sent. Never tries again."""
        self._guards.last = None
        parts = urlsplit(url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection = self._connected()
        may_send: Callable[[], bool] | None = getattr(self._guards, "may_send", None)
        if may_send is not None and not may_send():
            self._give_back(connection)
            raise TooLateToSend("the intent's commit is too long ago")
        try:
            connection.request(method.upper(), target, body=post_data.encode() if post_data else None, headers=dict(headers or {}))
            answer = connection.getresponse()
            body = _whole(answer).decode("utf-8", "replace")
        except (OSError, HTTPException) as error:
            connection.close()
            raise NoAnswer(f"{self._host} did not answer: {type(error).__name__}") from None
        if answer.will_close:
            connection.close()
        else:
            self._give_back(connection)
        self._guards.last = (body, answer.status, answer.headers)
        return body, answer.status, answer.headers

    @property
    def last_answer(self) -> tuple[str, int, Any] | None:
        """Body, status and headers that came for this thread's newest request; None where none did."""
        return getattr(self._guards, "last", None)

    def close(self) -> None:
        """Close what is idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _give_back(self, connection: HTTPConnection) -> None:
        with self._lock:
            self._idle.append(connection)

    def _connected(self) -> HTTPConnection:
        """An open connection: an idle one that the other side has not closed, else a new one."""
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return self._connect()
            if not _is_over(connection):
                return connection
            connection.close()

    def _connect(self) -> HTTPConnection:
        address = urlsplit(self._through) if self._through else None
        host, port = (address.hostname or "", address.port) if address else (self._host, self._port)
        connection = (
            HTTPSConnection(host, port, timeout=self._timeout_s, context=self._context)
            if self._context is not None
            else HTTPConnection(host, port, timeout=self._timeout_s)
        )
        if address is not None and self._context is not None:
            connection.set_tunnel(self._host, self._port)
        try:
            connection.connect()
        except (OSError, HTTPException) as error:
            connection.close()
            raise NotSent(f"{self._host} cannot be reached: {type(error).__name__}") from None
        return connection


def _whole(answer: HTTPResponse) -> bytes:
    """The body, whole. Raises HTTPException where it was cut (http.client knows that only of a body read without a limit), or too large."""
    if answer.length is not None and answer.length <= MOST_BYTES:
        return answer.read()
    body = b"" if answer.length is not None else answer.read(MOST_BYTES)
    if answer.length is not None or len(body) == MOST_BYTES:
        raise HTTPException("the answer is larger than any of Stripe's")
    return body


def _is_over(connection: HTTPConnection) -> bool:
    """True where the other side closed (or said something nobody asked for): an idle connection has nothing to read."""
    return connection.sock is None or bool(select.select([connection.sock], [], [], 0)[0])
