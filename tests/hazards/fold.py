"""One partition counted flush by flush over a changelog that keeps what was acknowledged; all that was ever written is remembered."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, NamedTuple

from streams import changelog
from streams.partition import MeterPartition
from streams.sends import Send
from tests.core.meterlog import PARTITIONS, Disk, Log, batch_of, fresh, state_sends
from topics.catalog import REJECTED, VERDICTS, WINDOWS
from topics.errors import TidemarkError
from topics.rejected import read_rejected

Seeded = Callable[[int], list[str]]
SMALL = {"SPARE_SEGMENTS": 2, "RESAID_ROWS": 3, "MERGED_PARTS": 1}
"""Limits of the changelog at which saying again, merging and tombstoning happen in a life of a few hundred records."""


class Total(NamedTuple):
    """What one revision says."""

    quantity: Fraction
    events: int
    revision: tuple[int, int]
    hash: str


@contextmanager
def small_segments(**limits: int) -> Iterator[None]:
    """The changelog's limits, lowered for a block."""
    wanted = {**SMALL, **limits}
    before = {name: getattr(changelog, name) for name in wanted}
    for name, value in wanted.items():
        setattr(changelog, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(changelog, name, value)


class Fold:
    """A worker of one partition, and its successors after crashes."""

    def __init__(self, log: Log, rng: random.Random, disk: Disk | None = None, partition: int = 0) -> None:
        self.log, self.rng, self.number = log, rng, partition
        self.disk = Disk() if disk is None else disk
        self.written: list[Send] = []
        self.faults: list[str] = []
        self.partition = self._recovered()
        self.durable = self.partition.next_offset

    def _recovered(self) -> MeterPartition:
        if self.number == 0:
            return fresh(self.disk, self.rng)
        return MeterPartition.recover(
            self.number, PARTITIONS, self.disk.records, writer_epoch=self.rng.randbytes(8), id_key=self.rng.randbytes(16), cluster_id="test"
        )

    def restart(self) -> None:
        """kill -9, and another worker takes the partition."""
        self.partition = self._recovered()
        self.durable = self.partition.next_offset

    def apply(self, upto: int | None = None, back: int = 0) -> None:
        """Fold up to an offset in random cuts, from `back` records before the position."""
        end = self.log.end if upto is None else min(upto, self.log.end)
        start = max(0, self.partition.next_offset - back)
        for batch in self.log.batches(start, self.rng, end):
            values = {name: getattr(batch, name) for name in type(batch).__slots__} | {"partition": self.number}
            self.partition.apply(type(batch)(**values))

    def flush(self, groups: int = 3) -> None:
        """A flush of which the first `groups` of three arrive whole; then the worker goes on, or is thought dead by the caller."""
        flush = self.partition.begin_flush()
        if flush is None:
            return
        for group in (flush.first, [flush.counters], flush.last)[:groups]:
            self.written += group
            for key, value in state_sends(group):
                self.disk.append(key, value)
        if groups == 3:
            self.durable = self.partition.end_flush(flush)

    def emit(self, now_ms: int, noted: bool = True) -> None:
        """Close and emit what is due at the wall clock, as if the log ended where it was read to; not `noted`: the worker dies after the send."""
        end = self.partition.next_offset if self.partition.tick(now_ms, None) else None
        self.partition.tick(now_ms, end)
        emissions = self.partition.due(now_ms)
        early = [emission.rev for emission in emissions if emission.rev & ((1 << 64) - 1) >= self.durable]
        self.faults += [f"a revision through offset {rev & ((1 << 64) - 1)} is emitted, {self.durable} is durable" for rev in early]
        self.written += [emission.send for emission in emissions]
        if noted:
            self.partition.end_emission(emissions)

    def finish(self, now_ms: int = 10**14) -> None:
        """Count, make durable and emit everything; the same end as any other life of this log."""
        self.apply()
        for turn in range(4):
            self.flush()
            self.emit(now_ms + turn * 86_400_000)  # what is merged for a while is said in a later turn
        self.flush()

    # ── what came of it ─────────────────────────────────────────────────────────────────────────────────────────────
    def verdicts(self) -> dict[int, str]:
        """Offset → verdict, or the reason of what was rejected; two different ones of one offset are a fault."""
        found: dict[int, str] = {}
        for send in self.written:
            if send.topic == VERDICTS:
                said = json.loads(send.value or b"")
                word = said["reason"] if said["verdict"] == "rejected" else said["verdict"]
                if word != "mark" and found.setdefault(said["offset"], word) != word:
                    self.faults.append(f"offset {said['offset']} is {found[said['offset']]} and {word}")
        return found

    def rejected(self) -> set[int]:
        """Offsets whose bytes stand on `usage.rejected`."""
        return {read_rejected(send.key, send.value, send.headers, REJECTED).offset for send in self.written if send.topic == REJECTED}

    def marked(self) -> int:
        """How far the marks on `usage.verdicts` say that every event has its verdict."""
        said = [json.loads(send.value or b"") for send in self.written if send.topic == VERDICTS and send.key is None]
        return max((mark["next_offset"] for mark in said if mark["verdict"] == "mark"), default=0)

    def totals(self) -> dict[str, Total]:
        """Window key → newest revision; one revision with two bodies, or with fewer events than the one before, is a fault."""
        bodies: dict[tuple[bytes | None, tuple[int, int]], bytes | None] = {}
        newest: dict[str, Total] = {}
        for send in self.written:
            if send.topic != WINDOWS:
                continue
            body, key = json.loads(send.value or b""), (send.key or b"").decode()
            total = Total(Fraction(body["quantity"]), body["events"], (body["generation"], body["through_offset"]), body["hash"])
            if bodies.setdefault((send.key, total.revision), send.value) != send.value:
                self.faults.append(f"{key}: revision {total.revision} names two totals")
            if key not in newest or total.revision >= newest[key].revision:
                newest[key] = total
        return newest

    def shrunk(self) -> list[str]:
        """Windows of which a higher revision has fewer events than a lower one."""
        revisions: dict[bytes | None, dict[tuple[int, int], int]] = {}
        for send in self.written:
            if send.topic == WINDOWS:
                body = json.loads(send.value or b"")
                revisions.setdefault(send.key, {})[body["generation"], body["through_offset"]] = body["events"]
        ordered = {key: [count for _, count in sorted(found.items())] for key, found in revisions.items()}
        return [f"{key!r} has {counts} events, revision by revision" for key, counts in ordered.items() if counts != sorted(counts)]


def differences(what: str, found: dict[Any, Any], wanted: dict[Any, Any], most: int = 3) -> list[str]:
    """The first few keys at which two accounts differ."""
    keys = [key for key in {**wanted, **found} if found.get(key) != wanted.get(key)]
    return [f"{what} {key}: {found.get(key)}, truth {wanted.get(key)}" for key in keys[:most]]


def faults_of(check: Seeded, seed: int) -> list[str]:
    """What a check finds; a halt or a broken promise that nobody expected is a fault too, anything else is a defect of the test."""
    try:
        return check(seed)
    except (TidemarkError, AssertionError) as error:
        return [f"{type(error).__name__}: {str(error)[:300]}"]


def clean(check: Seeded, seeds: int, first: int = 0) -> dict[int, list[str]]:
    """Seeds that found something; empty is what a test asserts."""
    return {seed: faults for seed in range(first, first + seeds) if (faults := faults_of(check, seed))}


__all__ = ["Fold", "Seeded", "Total", "batch_of", "clean", "differences", "faults_of", "small_segments"]
