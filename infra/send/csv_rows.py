"""`send csv`: one event a row. The first row names the columns; every column goes into `data`, the quantity's also as `value`."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from infra.send.outgoing import BadLine, LineIds, Outgoing, cloud_event
from topics.errors import UsageError
from topics.instants import EPOCH, parse_us

SOURCE: Final = "csv"
_LOCAL = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(?:\.(\d+))?", re.ASCII)
_EPOCH_NUMBER = re.compile(r"\d{10}(\d{3})?", re.ASCII)
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})", re.ASCII)


@dataclass(frozen=True)
class Columns:
    """Which column says what; `customer_column` names the customer row by row, else `customer` is everybody's."""

    event_type: str
    customer: str | None = None
    customer_column: str | None = None
    value: str | None = None
    time: str | None = None
    id: str | None = None
    zone: str = "UTC"
    source: str = SOURCE

    def zone_info(self) -> ZoneInfo:
        """The zone of times that carry none. Raises UsageError."""
        try:
            return ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise UsageError(f"--zone {self.zone!r} is no zone of the tz database; write for example Europe/Berlin") from None

    def check(self, header: list[str]) -> None:
        """Raises UsageError, naming the columns there are."""
        for option in ("customer_column", "value", "time", "id"):
            name = getattr(self, option)
            if name is not None and name not in header:
                flag = "--" + option.replace("_", "-")
                raise UsageError(f"{flag} {name!r} is no column of the file; its columns are {', '.join(header)}")


def read_csv(lines: Iterator[tuple[int, bytes]], columns: Columns) -> Iterator[Outgoing | BadLine]:
    """Events of a CSV file (RFC 4180, header first). Raises UsageError where a named column is missing."""
    ids = LineIds()
    zone = columns.zone_info()
    header: list[str] | None = None
    for number, raw in _records(lines):
        if not raw.strip():
            continue
        try:
            fields = next(csv.reader([raw.decode("utf-8-sig" if header is None else "utf-8")], strict=True))
        except (UnicodeDecodeError, csv.Error, StopIteration) as error:
            yield BadLine(number, f"it is no row of UTF-8 text: {error}")
            continue
        if header is None:
            header = [name.strip() for name in fields]
            columns.check(header)
        elif len(fields) != len(header):
            yield BadLine(number, f"it has {len(fields)} fields, the header {len(header)}")
        else:
            yield _read(number, raw, dict(zip(header, fields, strict=True)), columns, zone, ids)


def _records(lines: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Whole records with the number of their first line: a quoted field may hold line ends."""
    number, pending = 0, b""
    for at, line in lines:
        if not pending:
            number = at
        pending = pending + b"\n" + line if pending else line
        if pending.count(b'"') % 2 == 0:
            yield number, pending
            pending = b""
    if pending:
        yield number, pending


def _read(number: int, raw: bytes, row: dict[str, str], columns: Columns, zone: tzinfo, ids: LineIds) -> Outgoing | BadLine:
    customer = row[columns.customer_column].strip() if columns.customer_column else (columns.customer or "")
    if not customer:
        return BadLine(number, f"its column {columns.customer_column!r} names no customer")
    line_id = ids.next(raw)
    event_id = row[columns.id].strip() if columns.id else line_id
    if not event_id:
        return BadLine(number, f"its column {columns.id!r} is empty, so it has no id")
    occurred_at_us = None
    if columns.time is not None:
        occurred_at_us = instant_us(row[columns.time].strip(), zone)
        if occurred_at_us is None:
            return BadLine(number, f"its time {row[columns.time][:40]!r} is none (RFC 3339, or local to --zone, or epoch seconds)")
    data = {name: _json_value(text.strip()) for name, text in row.items() if name not in {columns.time, columns.customer_column, columns.id}}
    if columns.value is not None:
        data["value"] = _json_value(row[columns.value].strip())
    return Outgoing(number, customer, occurred_at_us, cloud_event(event_id, columns.source, columns.event_type, customer, data))


def _json_value(text: str) -> Any:
    """A whole number as a number; all else as text, which a meter reads exactly where it is a decimal number."""
    return int(text) if _INTEGER.fullmatch(text) else text


def instant_us(text: str, zone: tzinfo) -> int | None:
    """Microseconds of RFC 3339 text, of a local time in `zone`, or of epoch seconds or milliseconds; None where it is none.

    A local time that a change of clocks skips is none; one that it repeats is the first.
    """
    if (whole := parse_us(text)) is not None:
        return whole
    if number := _EPOCH_NUMBER.fullmatch(text):
        return int(text) * (1_000 if number[1] else 1_000_000)
    match = _LOCAL.fullmatch(text)
    if match is None:
        return None
    try:
        naive = datetime.fromisoformat(f"{match[1]} {match[2]}")
    except ValueError:
        return None
    since = naive.replace(tzinfo=zone) - EPOCH
    try:
        back = (EPOCH + since).astimezone(zone)
    except OverflowError:  # the first and the last hours of the calendar, in a zone away from UTC
        return None
    if back.replace(tzinfo=None) != naive:
        return None
    return since // timedelta(microseconds=1) + int(((match[3] or "") + "000000")[:6])
