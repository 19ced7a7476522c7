"""Dead letters onto usage.events once more: each exactly once.

Numbered effects:
1. `log.open`: the producer starts under the one transactional id of this command. That fences every other run of it, wherever: what such a run had
   committed is in the log before this returns, what it had not is aborted, and it can commit nothing any more. A crash here costs nothing.
2. `log.send`: letters are sent, at most `CHUNK` in one transaction, each to its customer's home with its origin coordinate and its original
   `received_at` in headers. A transaction is in the log whole or not at all; a crash between two leaves the rest waiting.

Between 1 and 2 it is looked up what was sent before: in the archive's raw_events (every record that names an origin), and in the part of the log
that is not archived yet, read after 1. So nothing that any run ever sent is missed, and no guard in the meter is needed:
- *killed in the middle and run again*: the committed chunks are found by their origins, the open one is aborted by the next run's start (or by
  the broker after `TRANSACTION_TIMEOUT_MS`; until then the meter waits before it, which is why that time is short);
- *two at once*: the later start wins, the earlier one's next commit fails and says so; what the earlier one committed the later one finds;
- *again months later, beyond `dedup`*: the archive has the origins for as long as it has raw events. Months are dropped oldest first; a letter
  whose own record was dropped is `gone` and never sent;
- *the producer sent the event again itself*: its id is looked up among all archived counted ids, not only those within `dedup`, and in the log's
  end. Between that look and the commit (a second) the meter's own ids protect: `dedup` is at least as long;
- *several letters of one id*: the oldest goes, the others are copies and wait; a later run finds the id counted;
- *rejected again*: that is a new letter at its own coordinate, with the same received_at. The old one is `again` and never sent; the new one may
  be, once;
- *a mirrored or recreated log*: a letter is named by partition, offset and received_at, and replays carry all three whatever log they lie in.

`future` letters count once their time has come: judged against the log's now, with the received_at they had. `too_late` ones stay too late
whatever is sent, since what is final only grows: correct the window by an amendment, or say another time by --set. A letter without `time`
counts at its original received_at, not at the time of its replay.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

import msgspec

from infra.letters.archive import Said, Selection
from infra.letters.edits import Edits
from infra.letters.judging import Judging, Share
from infra.letters.letter import Coordinate, EventId, Fate, Letter
from infra.letters.plan import Known, Next, Planned, decide, edited
from infra.letters.tail import Tail
from topics.batch import Headers
from topics.errors import UsageError
from topics.home import home_of
from topics.origin import MAX_REPLAY_BYTES

CHUNK: Final = 100
"""Letters in a transaction: it costs about 22 ms whatever it holds, and is far below a second's worth of records."""


class Outgoing(NamedTuple):
    """A record for usage.events."""

    partition: int
    key: bytes
    value: bytes | None
    headers: Headers


class Log(Protocol):
    """usage.events, on Kafka (`kafka_log.py`) or in a test. `tail` sees everything that any earlier `send` of anybody committed."""

    partitions: int

    async def open(self) -> None:
        """Fence every other run. Without it `send` may not be called. Raises Unreachable."""
        ...

    async def tail(self, archived_to: Mapping[int, int]) -> Tail:
        """What may not be archived yet. Raises Unreachable, TidemarkError."""
        ...

    async def send(self, records: Sequence[Outgoing]) -> None:
        """All of them in one transaction, or none. Raises TidemarkError where another run was opened since, Unreachable where nobody knows."""
        ...


class Archive(Protocol):
    """Dead letters in ClickHouse (`archive.py`), or in a test."""

    def archived_to(self) -> dict[int, int]:
        """See `LetterArchive`."""
        ...

    def definitions(self) -> list[Said]:
        """See `LetterArchive`."""
        ...

    def pages(self, selection: Selection) -> Iterator[list[Letter]]:
        """See `LetterArchive`."""
        ...

    def replays(self, since_ms: int) -> dict[Coordinate, list[Fate]]:
        """See `LetterArchive`."""
        ...

    def gone(self, selection: Selection) -> set[Coordinate]:
        """See `LetterArchive`."""
        ...

    def same_ids(self, ids: Iterable[EventId]) -> dict[EventId, list[Fate]]:
        """See `LetterArchive`."""
        ...


@dataclass
class Done:
    """What was found and done: how many of each, what those that are sent add, the decisions in order (at most `kept`)."""

    counts: Counter[Next] = field(default_factory=Counter)
    adds: list[tuple[Share, ...]] = field(default_factory=list)
    planned: list[Planned] = field(default_factory=list)
    kept: int = 10_000

    def take(self, planned: Sequence[Planned]) -> None:
        """One page."""
        self.counts.update(one.next for one in planned)
        self.adds += [one.edited.verdict.shares for one in planned if one.next is Next.SEND and one.edited.verdict is not None]
        self.planned += planned[: max(0, self.kept - len(self.planned))]


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is asked for. `who` and `why` go into a header of each record; `send` False only says what would be done."""

    selection: Selection
    edits: Edits
    who: str = ""
    why: str = ""
    send: bool = False

    @property
    def said(self) -> bytes:
        """The header. Raises UsageError where it is too long."""
        found = msgspec.json.encode({"who": self.who, "why": self.why})
        if len(found) > MAX_REPLAY_BYTES:
            raise UsageError(f"--why and --who are {len(found)} bytes together; at most {MAX_REPLAY_BYTES - 20} are kept with each record")
        return found


async def replay(log: Log, archive: Archive, order: Order, now_ms: int, step: Callable[[int], None] = lambda _: None) -> Done:
    """Sends what the order says, or plans it. Raises Unreachable, TidemarkError; what was sent before an error stays sent, and is found again."""
    said = order.said
    if order.send:
        await log.open()  # 1
    # How far the archive is, first: what it takes on meanwhile is then seen twice, and never missed.
    archived_to = await asyncio.to_thread(archive.archived_to)
    tail = await log.tail(archived_to)
    judging = Judging.of(log.partitions, now_ms, await asyncio.to_thread(archive.definitions))
    pages = archive.pages(order.selection)
    done, known = Done(), None
    taken: dict[EventId, Letter] = {}
    sent: set[Coordinate] = set()
    while (page := await asyncio.to_thread(next, pages, None)) is not None:
        if known is None:  # the first letter is the oldest
            replays = await asyncio.to_thread(archive.replays, page[0].received_at_ms)
            known = Known(replays, await asyncio.to_thread(archive.gone, order.selection), tail.replays, tail.ids, tail.records)
        now = [edited(letter, order.edits, judging, said) for letter in page]
        same = await asyncio.to_thread(archive.same_ids, [one for each in now for one in each.ids])
        planned = decide(now, known, same, taken, sent)
        if order.send:
            outgoing = [_outgoing(log.partitions, one) for one in planned if one.next is Next.SEND]
            for start in range(0, len(outgoing), CHUNK):
                await log.send(outgoing[start : start + CHUNK])  # 2
        done.take(planned)
        step(len(page))
    return done


def _outgoing(partitions: int, one: Planned) -> Outgoing:
    after = one.edited.after
    key = b"" if after is None or after.key is None else after.key  # a letter without a key is never planned to be sent
    return Outgoing(home_of(key, partitions), key, None if after is None else after.value, one.edited.headers)
