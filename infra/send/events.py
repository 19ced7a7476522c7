"""`send events`: one CloudEvent a line. A line that is wrong but has a subject is sent as it is, so that it lands in `usage.rejected`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from infra.send.outgoing import BadLine, Outgoing
from topics.instants import parse_us

_raw = msgspec.json.Decoder(dict[str, msgspec.Raw])
"""Keeps the bytes of every value, so that moving the time changes no digit of a quantity."""


def read_events(lines: Iterator[tuple[int, bytes]], *, shift: bool = False) -> Iterator[Outgoing | BadLine]:
    """Events of a file of CloudEvents. Bytes are sent unchanged unless `shift` moves their time."""
    for number, line in lines:
        if line.strip():
            yield _read(number, line, shift=shift)


def _read(number: int, line: bytes, *, shift: bool) -> Outgoing | BadLine:
    try:
        # Surrogates stand for bytes that are no UTF-8: the meter shall reject those, not this program.
        event: Any = json.loads(line.decode("utf-8", "surrogateescape"), parse_int=_no_number, parse_float=_no_number)
    except (ValueError, RecursionError) as error:
        return BadLine(number, f"it is no JSON, so it names no customer: {error}")
    customer = event.get("subject") if isinstance(event, dict) else None
    if not isinstance(customer, str) or not customer or not _is_text(customer):
        return BadLine(number, "it has no subject, so it names no customer")
    time = event.get("time")
    occurred_at_us = parse_us(time) if isinstance(time, str) else None
    body = _values(line) if shift and occurred_at_us is not None else None
    return Outgoing(number, customer, occurred_at_us, body, line)


def _no_number(_digits: str) -> None:
    """Numbers are not looked at here, and Python refuses to read one of 5,000 digits, which the meter shall reject."""


def _is_text(customer: str) -> bool:
    try:
        customer.encode()
    except UnicodeEncodeError:
        return False
    return True


def _values(line: bytes) -> dict[str, Any] | None:
    """The values of an event by name, as bytes; None where the line is no strict JSON: then it is sent as it is."""
    try:
        return dict(_raw.decode(line))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
