"""What a demo runs on: its directory, its configuration, and the usage it sends; built-in, or a web server's log."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from infra.demo.usage import CUSTOMERS, SPAN, WINDOW, Expected, Made, made_usage
from infra.send.access_log import read_access_log
from infra.send.files import numbered_lines
from infra.send.outgoing import BadLine, Outgoing, shift_to
from infra.send.publish import latest_us
from topics.errors import UsageError
from topics.instants import EPOCH

CALLS_PER_SECOND: Final = 1000
"""What the demo's sandbox allows; a real account's 100 would only make the demo longer."""
PORTIONS_SECONDS: Final = 9.0
"""Over how long the usage is spread: long enough for five kills and restarts in the middle of it."""

HEAD: Final = """\
# Written by `tidemark demo`.
[stripe]
calls_per_second = {calls}

[timing]
dedup = "7d"
horizon = "{horizon}d"
future = "5m"
revision_delay = "2s"         # short, so that the demo's late events are delivered while you look

"""
METER: Final = """\
[[meters]]
slug = "{slug}"
event_type = "{event_type}"
value = "{value}"
window = "1h"
grace = "1m"

"""
BUILT_IN_METERS: Final = (("api_calls", "api.request", "count"), ("tokens", "llm.request", "tokens"))
LOG_METERS: Final = (("requests", "http.request", "count"), ("egress_bytes", "http.request", "bytes"))


class Setting(NamedTuple):
    """A demo's usage and what must come of it: `cells` is how many reports it makes at least."""

    records: Sequence[Made]
    late: Sequence[Made]
    expected: Expected
    customers: Sequence[str]
    meters: tuple[tuple[str, str, str], ...]
    cells: int
    skipped: int = 0
    has_months: bool = False

    def configuration(self, now: datetime) -> str:
        """The demo's tidemark.toml."""
        days = 30 if self.expected.first is None else max(30, (now - self.expected.first).days + 2)
        text = HEAD.format(calls=CALLS_PER_SECOND, horizon=days)
        text += "".join(METER.format(slug=slug, event_type=event_type, value=value) for slug, event_type, value in self.meters)
        return text + "".join(f'[[customers]]\nid = "{_toml(name)}"\n' for name in self.customers)


def _toml(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def built_in(now: datetime) -> Setting:
    """The usage of eight customers over three hours."""
    usage = made_usage(now)
    cells = len(usage.expected.units) * (SPAN // WINDOW + 1)  # the span touches one hour more than it is long
    return Setting(usage.records, usage.late, usage.expected, [name for name, _ in CUSTOMERS], BUILT_IN_METERS, cells, has_months=True)


def from_log(path: Path, now: datetime) -> Setting:
    """A web server's log, moved so that its last request is just past; counted here line by line with plain dictionaries."""
    read = list(read_access_log(numbered_lines(path)))
    last_us = latest_us(read)
    if last_us is None:
        raise UsageError(f"{path} has no line of the combined log format")
    now_us = (now - EPOCH) // timedelta(microseconds=1)
    shift_us = shift_to(now_us, last_us)
    expected = Expected()
    windows: set[tuple[str, int]] = set()
    records: list[Made] = []
    first_us = now_us
    for event in read:
        if isinstance(event, BadLine):
            continue
        at_us = _count(event, shift_us, expected)
        first_us = min(first_us, at_us)
        windows.add((event.customer, at_us // 3_600_000_000))
        records.append(Made(event.customer.encode(), event.bytes_at(shift_us), "usage"))
    expected.first = datetime.fromtimestamp(first_us // 1_000_000, tz=UTC)
    expected.kinds["usage"] = len(records)
    # Every tenth line comes again, at the end: a log that is sent twice in part must count once.
    again = [Made(made.key, made.value, "duplicate") for made in records[::10]]
    expected.kinds["duplicate"] = len(again)
    expected.showcase = _showcase(again, records)
    busiest = Counter(customer for customer, meter in expected.events.elements() if meter == "requests")
    customers = [name for name, _ in busiest.most_common()]
    skipped = sum(isinstance(event, BadLine) for event in read)
    return Setting(records, again, expected, customers, LOG_METERS, len(windows) * len(LOG_METERS), skipped)


def _showcase(again: Sequence[Made], records: Sequence[Made]) -> tuple[str, str, datetime] | None:
    """A window with a duplicate that still fits a screen."""
    size = Counter(_hour(made) for made in records)
    candidates = {_hour(made) for made in again if 4 <= size[_hour(made)] <= 12}
    if not candidates:
        return None
    customer, hour = min(candidates)
    return customer, "egress_bytes", datetime.fromisoformat(hour + ":00:00+00:00")


def _hour(made: Made) -> tuple[str, str]:
    event = json.loads(made.value)
    return event["subject"], event["time"][:13]


def _count(event: Outgoing, shift_us: int, expected: Expected) -> int:
    """Counts one request into what is expected; returns its moved time."""
    data = (event.body or {})["data"]
    for meter, units in (("requests", 1), ("egress_bytes", data["bytes"])):
        expected.units[event.customer, meter] += units
        expected.events[event.customer, meter] += 1
    return (event.occurred_at_us or 0) + shift_us


def fresh_directory(option: Path | None) -> Path:
    """An empty directory for a demo: the named one, or `.tidemark/demo`, whose last demo goes. Raises UsageError where it is in use."""
    from infra.embedded import stack

    if option is not None:
        if option.exists() and any(option.iterdir()):
            raise UsageError(f"{option} is not empty; a demo wants a fresh directory")
        option.mkdir(parents=True, exist_ok=True)
        return option.absolute()
    for number in range(1, 100):
        directory = Path(".tidemark", "demo" if number == 1 else f"demo-{number}").absolute()
        if not stack.running(directory):
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(parents=True, exist_ok=True)
            return directory
    raise UsageError("ninety-nine demos are running here; end one with `tidemark down --dir .tidemark/demo`")
