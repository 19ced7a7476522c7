"""`--evidence FILE`: the events themselves, for somebody who does not trust us (infra/docs/explaining.md has the form and how to recompute it).

One JSON object a line: a head that says what is claimed (windows, revisions, what Stripe holds, the invoice line), each counted event with its own
bytes in the order of the log, and a foot with the chain: SHA-256 of the chain so far (at first nothing) and the next line, from the head on. Where
a file has several customers and meters the chain goes on, so that the last one stands for the whole file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from infra.reading import clickhouse
from topics.definitions import Definitions, decode_definition
from topics.quantity import format_scaled

if TYPE_CHECKING:
    from typing import BinaryIO

    from infra.explaining.page import Page
    from infra.settings import Settings
    from sinks.clickhouse.client import ClickHouse
    from sinks.clickhouse.explanation import Attempt
    from sinks.clickhouse.span import Reader
    from sinks.clickhouse.span_windows import SpanWindow


class Written(NamedTuple):
    """A file of evidence: how many events, and the last chain in it."""

    file: str
    events: int
    sha256: str


class Part(NamedTuple):
    """One customer and meter of it: `windows` with what the provider answered for each (None: it is not billed here); `line` as the head says it."""

    customer: str
    meter: str
    from_s: int
    to_s: int
    windows: list[tuple[SpanWindow, Attempt | None]]
    line: dict[str, Any] | None


def write(settings: Settings, page: Page, path: Path) -> Written:
    """Writes the evidence for everything on a page.

    1. the lines into a file beside it; a crash leaves that file, and an older evidence as it was. 2. the file takes its name.
    """
    archive = clickhouse(settings)
    events, chain = 0, b""
    beside = path.with_name(path.name + ".part")
    try:
        with beside.open("wb") as file:
            for part in parts_of(page):
                more, chain = _written(archive, part, file, chain)
                events += more
        beside.replace(path)
    finally:
        archive.close()
        with suppress(FileNotFoundError):
            beside.unlink()
    return Written(str(path), events, chain.hex())


def _written(archive: ClickHouse, part: Part, file: BinaryIO, chain: bytes) -> tuple[int, bytes]:
    """One part; its events, and the chain after them."""
    from sinks.clickhouse.evidence import events

    head = json.dumps(head_of(part, counts_of(archive, part)), ensure_ascii=False, separators=(",", ":")).encode()
    chain, count = hashlib.sha256(chain + head).digest(), 0
    file.write(head + b"\n")
    known = {(window.start_s, window.end_s) for window, _ in part.windows}
    from_s = min([part.from_s, *(start_s for start_s, _ in known)])
    for line in events(archive, part.customer, part.meter, from_s, part.to_s):
        # A stretch that reaches before the period, for a window across its edge, holds other windows too.
        if from_s < part.from_s and _place(line) not in known:
            continue
        chain = hashlib.sha256(chain + line).digest()
        file.write(line + b"\n")
        count += 1
    foot = {"events": count, "sha256": chain.hex()}
    file.write(json.dumps(foot).encode() + b"\n")
    return count, chain


def _place(line: bytes) -> tuple[int, int]:
    row = json.loads(line)
    return row["start"], row["end"]


def head_of(part: Part, counts: list[dict[str, Any]]) -> dict[str, Any]:
    """What is claimed of a part. `counts`: from which second on the meter counts which property (or events, `count`)."""
    return {
        "tidemark_evidence": 1,
        "customer": part.customer,
        "meter": part.meter,
        "from": part.from_s,
        "to": part.to_s,
        "counts": counts,
        "line": part.line,
        "windows": [_window(window, answer) for window, answer in part.windows],
    }


def _window(window: SpanWindow, answer: Attempt | None) -> dict[str, Any]:
    revisions = [
        {
            "generation": revision.generation,
            "through_offset": revision.through_offset,
            "quantity": format_scaled(revision.scaled),
            "events": revision.events,
            "hash": revision.hash,
        }
        for revision in window.revisions
    ]
    held = {name: "" if answer is None else getattr(answer, name) for name in ("cell", "units", "request_id")}
    return {"start": window.start_s, "end": window.end_s, "revisions": revisions, **held}


def counts_of(archive: Reader, part: Part) -> list[dict[str, Any]]:
    """What the meter's versions count, as the customer's home partition had them."""
    from sinks.clickhouse.span import query

    partition = next((window.partition for window, _ in part.windows if window.partition is not None), 0)
    held = Definitions()
    for (body,) in archive.rows(query("meter_versions"), {"meter": part.meter, "partition": partition}):
        held.apply(decode_definition(body, f"definition_log of meter {part.meter!r}"))
    return [{"from": version.valid_from_s, "value": version.meter.value} for version in held.meters.get(part.meter, [])]


def parts_of(page: Page) -> Iterator[Part]:
    """Everything on a page, customer and meter by customer and meter."""
    for found in page.windows:
        yield Part(found.customer, found.meter, found.start_s, found.end_s, [(found.window, found.window.standing)], None)
    for line in page.lines:
        billed = {(each.start_s, each.end_s): each.answer for each in line.windows.windows}
        windows = [(each, billed.get((each.start_s, each.end_s))) for each in (*line.windows.earlier, *line.windows.span.windows)]
        said = {name: getattr(line.line, name) for name in ("invoice", "id", "units", "amount", "currency")}
        said["carried"] = sum(units for units, _, _ in line.carried)
        yield Part(line.windows.customer, line.windows.meter, line.line.start_s, line.line.end_s, windows, said)
    for meter in page.period.meters if page.period is not None else ():
        span = meter.windows.span
        yield Part(span.customer, span.meter, span.from_s, span.to_s, [(window, window.standing) for window in span.windows], None)
