"""The invoice gate at work: looks at the account's drafts now and then, and holds those that still lack usage of ours. Decides nothing itself
(`sinks/gate.py`).

Each look, in order:
1. what is counted: the meters' words are taken, then the ends of `usage.windows` asked for; up to there everything must be read (`gate_stands.py`);
2. the drafts are listed, page by page, at a low priority; those that the log names and no list showed are asked for by name;
3. each draft with usage of a partition of ours is decided upon, read again just before anything is changed, and changed.

One side effect: the change of an invoice, `auto_advance` and our mark in one request. A crash before it changes nothing and after it loses
nothing: what we hold is marked at Stripe, and the next look, of whatever worker, goes on from what it finds there. Two workers that act on the same
draft by mistake say the same. A request whose answer was lost is in doubt until the invoice was read again: it may still land, and must not leave
a final invoice uncollected.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from sinks.gate import Action, Gate, Stand, decide, is_ready
from sinks.stripe.drafts import HOLD, RELEASE, DraftInvoice, Usage, usage_of
from sinks.stripe.gate_ports import Asking, Declined, Drafts, Ends, Partition
from topics.batch import TopicPartition
from topics.catalog import WINDOWS
from topics.errors import TidemarkError
from topics.instants import format_s

log = logging.getLogger(__name__)

EVERY_S: Final = 300.0
"""Between two looks: twelve in the hour that Stripe gives a draft."""
AGAIN_S: Final = 30.0
"""After a look that Stripe did not answer: the hour runs."""
GRACE_S: Final = 3600
"""How long after its making Stripe finalises a draft, where it does not say when (Stripe, "Status transitions and finalization")."""
WARN_S: Final = 1800
"""With the gate on `warn`: how long before a draft is finalised it is said that something is missing. Earlier, something always is."""
CLOSING_S: Final = 60
"""A draft is not held so close to the instant at which it is to be finalised: a request that lands after that would stop the collection of a final
invoice. One that is still a draft later than that is kept waiting by Stripe, for a webhook that was not answered, and can be held."""


class Counted(NamedTuple):
    """Up to when all totals of a partition are known; `asked`: the newest word that is being checked, and the offset that has to be read first."""

    until_ms: int = 0
    asked: tuple[int, int] | None = None


class Found(NamedTuple):
    """A draft with usage of ours, the partition that delivers it, where that usage stands, and what time it is for its customer."""

    invoice: DraftInvoice
    partition: Partition
    stands: list[Stand]
    now_s: int


@dataclass
class Report:
    """What is shown: of the newest whole look, and counts since the start."""

    held: int = 0
    """Drafts that this worker's usage holds."""
    unready: int = 0
    """Drafts that lack usage of ours, held or not."""
    oldest_held_s: int | None = None
    """When the oldest of the held was made."""
    released_with_alarm: int = 0
    looks: int = 0
    waiting: str | None = None
    """Why the newest look came to nothing; None where it did not."""


@dataclass
class InvoiceGate:
    """One worker's gate. `partitions` are those that it holds at the moment of asking."""

    gate: Gate
    drafts: Drafts
    ends: Ends
    ask: Asking
    partitions: Callable[[], Iterable[Partition]]
    now_ms: Callable[[], int]
    report: Report = field(default_factory=Report)
    _failed: int = 0
    _counted: dict[TopicPartition, Counted] = field(default_factory=dict)
    _machines: dict[TopicPartition, Any] = field(default_factory=dict)
    _usage: dict[str, list[Usage]] = field(default_factory=dict)
    """Of drafts: which items and spans a draft bills stays as it is."""
    _over: set[str] = field(default_factory=set)
    """Drafts by the log that are none any more at Stripe; none comes back."""
    _in_doubt: set[str] = field(default_factory=set)
    _said: dict[str, str] = field(default_factory=dict)

    async def run(self) -> None:
        """Look again and again until cancelled. What nobody foresaw is said with its stack and looked at again: a gate that died would hold on."""
        while True:
            await asyncio.sleep(AGAIN_S if self.report.waiting is not None or not self.report.looks else EVERY_S)
            try:
                await self.look()
            except Exception:
                log.exception("a look of the invoice gate failed; please report the defect")
                self.report.waiting = "the invoice gate failed; its stack is in this worker's log"

    def shown(self) -> dict[str, Any]:
        """Its part of `/status`."""
        report = self.report
        age_s = None if report.oldest_held_s is None else max(0, self.now_ms() // 1000 - report.oldest_held_s)
        return {
            "mode": self.gate,
            "held": report.held,
            "unready": report.unready,
            "oldest_held_s": age_s,
            "released_with_alarm": report.released_with_alarm,
            "looks": report.looks,
            "waiting": report.waiting,
        }

    async def look(self) -> None:
        """One look at all drafts. Where Stripe or Kafka does not answer, it is said and tried again; one odd invoice stops no other."""
        held: list[int] = []
        unready = 0
        try:
            await self._count()
            await self._settle_doubts()
            async for found in self._found():
                action = await self._act(found)
                is_held = action == "hold" or (action == "leave" and found.invoice.draft.held_by_us)
                held += [found.invoice.created] if is_held else []
                unready += not all(map(is_ready, found.stands))
        except TidemarkError as error:
            self._wait(str(error))
            return
        self.report.held, self.report.unready, self.report.oldest_held_s = len(held), unready, min(held, default=None)
        self.report.looks += 1
        self.report.waiting = None
        self._failed = 0

    def _wait(self, sentence: str) -> None:
        """A look came to nothing; one alone happens, a second one in a row is said."""
        self._failed += 1
        if self._failed == 2:
            log.warning("%s. Drafts are looked at again; what is held stays held", sentence)
        self.report.waiting = sentence

    # ── what is counted ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _count(self) -> None:
        """Take each partition's newest word, and find out whether everything that existed then is read."""
        partitions = list(self.partitions())
        self._counted = {each.tp: self._counted.get(each.tp, Counted()) for each in partitions if self._machines.get(each.tp) is each.machine}
        self._machines = {each.tp: each.machine for each in partitions}
        for each in partitions:
            counted = _read_to(self._counted.get(each.tp, Counted()), each.machine.next_offset)
            closed = each.machine.closed
            if counted.asked is None and closed is not None and closed.until_ms > counted.until_ms:
                # Asked after the word was read, so all totals that it speaks of lie below.
                end = await self.ends.last_stable_offset((WINDOWS, each.tp[1]))
                counted = _read_to(counted._replace(asked=(closed.until_ms, end)), each.machine.next_offset)
            self._counted[each.tp] = counted

    # ── what is found ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _found(self) -> AsyncIterator[Found]:
        """All drafts with usage of a partition of ours."""
        seen: set[str] = set()
        async for invoice in self._listed():
            if invoice.id not in seen:
                seen.add(invoice.id)
                found = await self._judged(invoice)
                if found is not None:
                    yield found
        named = {name for each in self.partitions() for name in each.machine.invoices.drafts()}
        self._over &= named
        for name in sorted(named - seen - self._over):
            shown = await self._read(name)
            found = None if shown is None else await self._judged(shown)
            if found is not None:
                seen.add(name)
                yield found
        self._usage = {name: usage for name, usage in self._usage.items() if name in seen}

    async def _listed(self) -> AsyncIterator[DraftInvoice]:
        """The account's drafts, and those of subscriptions on test clocks, which only lists that name them show."""
        for subscription in ["", *sorted({name for each in self.partitions() for name in each.machine.clock_subscriptions()})]:
            after, has_more = "", True
            while has_more:
                page = await self.ask(self.drafts.page, after, subscription)
                for invoice in page.drafts:
                    yield invoice
                has_more = page.has_more and bool(page.drafts)
                after = page.drafts[-1].id if page.drafts else ""

    async def _judged(self, invoice: DraftInvoice) -> Found | None:
        """Where a draft's usage stands; None where it is no draft (any more), or has no usage that a partition of ours delivers."""
        if not invoice.is_draft:
            return None
        usage = self._usage.get(invoice.id)
        if usage is None:
            shown = invoice.lines
            lines = await self.ask(self.drafts.lines, invoice.id) if shown.has_more else shown.data
            usage = self._usage[invoice.id] = usage_of(invoice.created, lines)
        for each in self.partitions():
            ours = [(one, owner) for one in usage if (owner := each.machine.owner_of(one.item)) is not None]
            if ours:
                stands = self._stands(each, (one for one, _ in ours))
                return Found(invoice, each, stands, each.machine.now_of(ours[0][1][0], self.now_ms()) // 1000)
        return None

    def _stands(self, partition: Partition, usage: Iterable[Usage]) -> list[Stand]:
        until_ms = self._counted.get(partition.tp, Counted()).until_ms
        return [stand for one in usage for stand in partition.machine.stands(one.item, one.start_s, one.end_s, until_ms)]

    # ── what is done ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _act(self, found: Found) -> Action:
        """Do what is decided; what was done."""
        action = self._decided(found.invoice, found)
        self._warn(found)
        if action == "leave" or not found.partition.is_current:
            return "leave"
        # As it is now: a list is minutes old, and somebody may have taken the invoice in hand.
        fresh = await self._read(found.invoice.id)
        if fresh is None or self._decided(fresh, found) != action:
            return "leave"
        if not await self._change(fresh, action):
            return "leave"
        if action == "release_with_alarm":
            self.report.released_with_alarm += 1
            log.error(
                "invoice %s, made at %s, is released after 72 hours although %s of ours are missing on it: see `tidemark windows` and "
                "`tidemark adjustments` before Stripe finalises it, within an hour",
                fresh.id, format_s(fresh.created), _missing(found.stands),
            )  # fmt: skip
        else:
            log.info("invoice %s: %s (%s)", fresh.id, action, _missing(found.stands))
        return action

    async def _read(self, name: str) -> DraftInvoice | None:
        """A draft as it is now; None where it is gone, or no draft any more."""
        invoice = await self.ask(self.drafts.invoice, name)
        if invoice is None or not invoice.is_draft:
            self._over.add(name)
            return None
        return invoice

    def _decided(self, invoice: DraftInvoice, found: Found) -> Action:
        if invoice.is_overruled:
            return "leave"
        action = decide(self.gate, invoice.draft, found.stands, found.now_s)
        is_closing = abs(found.now_s - invoice.finalizes_at_s(GRACE_S)) < CLOSING_S
        return "leave" if action == "hold" and is_closing else action

    async def _change(self, invoice: DraftInvoice, action: Action) -> bool:
        """Ask for it; False where Stripe said no, which is said, and stops no other invoice."""
        self._in_doubt.add(invoice.id)
        try:
            after = await self.ask(self.drafts.change, invoice.id, HOLD if action == "hold" else RELEASE)
        except Declined as error:
            log.error("invoice %s: Stripe refuses to %s it: %s", invoice.id, action, error)
            self._in_doubt.discard(invoice.id)
            return False
        await self._undo(after)
        self._in_doubt.discard(invoice.id)
        return True

    async def _settle_doubts(self) -> None:
        """Read what a lost answer left open."""
        for name in sorted(self._in_doubt):
            invoice = await self.ask(self.drafts.invoice, name)
            if invoice is not None:
                await self._undo(invoice)
            self._in_doubt.discard(name)

    async def _undo(self, invoice: DraftInvoice) -> None:
        """A hold that landed on an invoice which had just become final would stop its collection: it is taken back at once."""
        if invoice.is_marked and not invoice.is_draft and not invoice.auto_advance and invoice.status == "open":
            await self.ask(self.drafts.change, invoice.id, RELEASE)
            log.warning("invoice %s had become final while it was being held; its collection goes on", invoice.id)

    def _warn(self, found: Found) -> None:
        """With the gate on `warn` what is missing half an hour before the end is said, once for each way in which it is."""
        if self.gate != "warn" or found.now_s < found.invoice.finalizes_at_s(GRACE_S) - WARN_S:
            return
        missing = _missing(found.stands)
        if all(map(is_ready, found.stands)):
            self._said.pop(found.invoice.id, None)
        elif self._said.get(found.invoice.id) != missing:
            self._said[found.invoice.id] = missing
            log.warning("invoice %s would become final without usage of ours: %s are missing", found.invoice.id, missing)


def _read_to(counted: Counted, next_offset: int) -> Counted:
    """What is being checked holds once everything below its offset is read."""
    if counted.asked is None or next_offset < counted.asked[1]:
        return counted
    return Counted(counted.asked[0])


def _missing(stands: Iterable[Stand]) -> str:
    """How many cells are not ready, by state."""
    counts: dict[str, int] = {}
    for stand in stands:
        if not is_ready(stand):
            name = stand.state if stand.is_current else "not yet reported"
            counts[name] = counts.get(name, 0) + 1
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "0 cells"
