"""`send access-log`: the combined (or common) log format of Apache and nginx. Customer = client address, type `http.request`.

Apache HTTP Server, mod_log_config: `%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-agent}i"`; `%b` is `-` where no bytes were sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Final

from infra.send.outgoing import BadLine, LineIds, Outgoing, cloud_event
from topics.instants import EPOCH

EVENT_TYPE: Final = "http.request"
SOURCE: Final = "access-log"
_LINE = re.compile(
    rb"(?P<host>\S+) \S+ .*?\[(?P<day>\d\d)/(?P<month>[A-Z][a-z]{2})/(?P<year>\d{4}):(?P<clock>\d\d:\d\d:\d\d) (?P<zone>[+-]\d{4})\] "
    rb'"(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{3}) (?P<bytes>\d+|-)(?:\s|$)'
)
_METHOD = re.compile(rb"([A-Z]{1,20}) ")
_MONTHS: Final = {name: index + 1 for index, name in enumerate(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split())}


def read_access_log(lines: Iterator[tuple[int, bytes]], *, source: str = SOURCE) -> Iterator[Outgoing | BadLine]:
    """One event a request, with data `{bytes, status, method}`; `-` bytes are 0."""
    ids = LineIds()
    for number, line in lines:
        if line.strip():
            yield _read(number, line, ids, source)


def _read(number: int, line: bytes, ids: LineIds, source: str) -> Outgoing | BadLine:
    match = _LINE.match(line)
    if match is None:
        return BadLine(number, 'it is no line of the combined log format (client … [time] "request" status bytes)')
    occurred_at_us = _instant_us(match)
    if occurred_at_us is None:
        return BadLine(number, f"its time {match['day'].decode()}/{match['month'].decode()} … is none")
    try:
        customer = match["host"].decode()
    except UnicodeDecodeError:
        return BadLine(number, "its client address is no UTF-8")
    method = _METHOD.match(match["request"])
    data = {
        "bytes": 0 if match["bytes"] == b"-" else _number(match["bytes"].decode()),
        "status": int(match["status"]),
        "method": method[1].decode() if method else "",
    }
    return Outgoing(number, customer, occurred_at_us, cloud_event(ids.next(line), source, EVENT_TYPE, customer, data))


def _number(digits: str) -> int | str:
    """As a number; as text where it is longer than any meter takes, which says so (Python reads no number of 5,000 digits)."""
    return int(digits) if len(digits) <= 18 else digits


def _instant_us(match: re.Match[bytes]) -> int | None:
    month = _MONTHS.get(match["month"])
    hour, minute, second = (int(part) for part in match["clock"].split(b":"))
    zone = match["zone"]
    offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:5])) * (-1 if zone[:1] == b"-" else 1)
    if month is None:
        return None
    try:
        there = datetime(int(match["year"]), month, int(match["day"]), hour, minute, second, tzinfo=timezone(offset))
    except ValueError:
        return None
    since = there - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000
