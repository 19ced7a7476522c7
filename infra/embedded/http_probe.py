"""Asks an HTTP server of the stack whether it lives: one GET, without any HTTP library."""

from __future__ import annotations

import http.client


def status_of(host: str, port: int, path: str, timeout_s: float) -> int | None:
    """The HTTP status of a GET on a loopback server, or None when nothing answers in time."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def answers(host: str, port: int, timeout_s: float, path: str = "/ping") -> bool:
    """Whether a GET of this path is answered with 200."""
    return status_of(host, port, path, timeout_s) == 200
