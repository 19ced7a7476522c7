"""Dead letters and what became of them, as ClickHouse has it. Reads only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from infra.letters.letter import Coordinate, EventId, Fate, Letter, origin_coordinate
from sinks.clickhouse.explain import query, shown
from topics.definitions import Definition, decode_definition
from topics.errors import UsageError
from topics.home import home_of

if TYPE_CHECKING:
    from sinks.clickhouse.client import ClickHouse

PAGE: Final = 500
"""Letters that are looked at together: their ids fit one question's address (a server takes a megabyte of it, a proxy often 64 KiB)."""
FETCHED: Final = 1_000
"""Letters read at once: each read sorts the whole selection, so not few; one that is `too_large` has up to a megabyte, so not many."""
ASKED_BYTES: Final = 20_000
"""Bytes of names in one question; percent-encoded at most three times as many."""
DAY_MS: Final = 86_400_000
_BEFORE_ALL: Final = {"after_ms": -(2**62), "after_partition": -1, "after_offset": -1}


class Selection(NamedTuple):
    """Which letters: all of these hold; "" and () leave one open. `names` are PARTITION:OFFSET."""

    reason: str = ""
    customer: str = ""
    source: str = ""
    names: tuple[str, ...] = ()

    @property
    def is_all(self) -> bool:
        """Whether it leaves nothing out."""
        return self == Selection()

    @property
    def parameters(self) -> dict[str, Any]:
        """For the queries."""
        return {"reason": self.reason, "customer": self.customer, "source": self.source, "names": list(self.names)}


def checked_names(names: Iterable[str]) -> tuple[str, ...]:
    """PARTITION:OFFSET, each. Raises UsageError where one is none."""
    found = []
    for name in names:
        partition, _, offset = name.partition(":")
        if not (partition.isdecimal() and offset.isdecimal() and name.isascii()):
            raise UsageError(f"{name!r} names no event; write PARTITION:OFFSET, for example 2:1041")
        found.append(f"{int(partition)}:{int(offset)}")
    return tuple(found)


class Said(NamedTuple):
    """A definition, its partition, and when the log said it (0: not known)."""

    partition: int
    definition: Definition
    said_ms: int


class LetterArchive:
    """Questions about dead letters; each may raise Unreachable or Refused."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    def pages(self, selection: Selection) -> Iterator[list[Letter]]:
        """The letters of a selection, the oldest first."""
        after: dict[str, int] = dict(_BEFORE_ALL)
        while True:
            rows = self._clickhouse.rows(query("letters_page"), {**selection.parameters, **after, "limit": FETCHED})
            found = [_letter(row) for row in rows]
            yield from (found[start : start + PAGE] for start in range(0, len(found), PAGE))
            if len(found) < FETCHED:
                return
            last = found[-1]
            after = {"after_ms": last.received_at_ms, "after_partition": last.partition, "after_offset": last.offset}

    def replays(self, since_ms: int) -> dict[Coordinate, list[Fate]]:
        """What became of each record that names an origin, by the origin; `since_ms` is when the first letter of interest was received."""
        found: dict[Coordinate, list[Fate]] = defaultdict(list)
        # A broker's clock that was set back by less than a day hides nothing.
        for row in self._clickhouse.rows(query("letters_replays"), {"since_ms": max(0, since_ms - DAY_MS)}):
            names, data, partition, generation, offset, fate, reason = row
            headers = [(shown(name), value or b"") for name, value in zip(names, data, strict=True)]
            if (origin := origin_coordinate(headers)) is not None:
                found[origin].append(Fate(partition, generation, offset, shown(fate), shown(reason)))
        return found

    def gone(self, selection: Selection) -> set[Coordinate]:
        """The letters of the selection whose own record the archive no longer has."""
        return {(row[0], row[1], row[2]) for row in self._clickhouse.rows(query("letters_gone"), selection.parameters)}

    def same_ids(self, ids: Iterable[EventId]) -> dict[EventId, list[Fate]]:
        """Every archived record of these ids that was counted, or that the meter's word is not archived of."""
        wanted = set(ids)
        found: dict[EventId, list[Fate]] = defaultdict(list)
        for part in _parts(sorted(wanted)):
            asked = {"customers": sorted({customer for customer, _, _ in part}), "ids": sorted({name for _, _, name in part})}
            for customer, source, name, partition, generation, offset, fate in self._clickhouse.rows(query("letters_ids"), asked):
                event = (shown(customer), shown(source), shown(name))
                if event in wanted and fate in {b"counted", b""}:
                    found[event].append(Fate(partition, generation, offset, shown(fate)))
        return found

    def definitions(self) -> list[Said]:
        """What was put in force, by partition and in order."""
        rows = self._clickhouse.rows(query("letters_definitions"))
        return [Said(partition, decode_definition(body, "definition_log"), said_ms) for partition, body, said_ms in rows]

    def archived_to(self) -> dict[int, int]:
        """By partition of usage.events, the first offset that may not be archived yet."""
        return {row[0]: row[1] for row in self._clickhouse.rows(query("letters_progress"))}


def home_in(partitions: int, customer: str) -> int:
    """The partition that a customer is counted on."""
    return home_of(customer.encode(), partitions)


def _parts(ids: Sequence[EventId]) -> Iterator[list[EventId]]:
    """Pieces whose names fit one question. An id that does not fit any is asked for alone."""
    part: list[EventId] = []
    size = 0
    for event in ids:
        more = len(event[0].encode()) + len(event[2].encode())
        if part and (size + more > ASKED_BYTES or len(part) == PAGE):
            yield part
            part, size = [], 0
        part.append(event)
        size += more
    if part:
        yield part


def _letter(row: tuple[Any, ...]) -> Letter:
    partition, offset, received_ms, rejected_ms, reason, sentence, no_key, key, no_value, value, names, data, subject, source, event_id, kind = row
    headers = tuple((shown(name), value_of) for name, value_of in zip(names, data, strict=True))
    return Letter(
        partition, offset, received_ms, rejected_ms, shown(reason), shown(sentence), None if no_key else key, None if no_value else value,
        headers, shown(subject), shown(source), shown(event_id), shown(kind),
    )  # fmt: skip
