"""A random life of a partition with amendments. It knows which of them must act, by rules written here once more."""

from __future__ import annotations

import json
import random
from fractions import Fraction
from typing import Any

from tests.core.amend_world import DAY, FIRST, HOUR, NOW_S, SECOND, SIGNED, Bench, correct_data, entry, void_data
from topics.amendments import NO_ROW
from topics.instants import format_us
from topics.meters import Meter, Timing
from topics.windows import Window

SECONDS = 10_000
"""Events happen within so many seconds: three windows of an hour, one of a day."""
LONG_MS = 30 * 86_400_000
SHORT_MS = 3 * 3_600_000
"""Horizons: nothing becomes final, or windows of an hour do while the story goes on."""
FAR_MS = 10**14


class Cut:
    """A random generator that always cuts alike."""

    def __init__(self, size: int) -> None:
        self.size = size

    def choice(self, _sizes: tuple[int, ...]) -> int:
        """The size of the next batch."""
        return self.size


class Known:
    """An event, what it counts now, and the digest of its newest amendment."""

    def __init__(self, customer: str, at_s: int, quantity: Fraction, *, signed: bool) -> None:
        self.customer, self.at_s, self.quantity, self.signed = customer, at_s, quantity, signed
        self.meters = (SIGNED,) if signed else (HOUR, DAY)
        self.digest = ""
        self.spent: list[str] = []
        """Digests that were in force once."""


class Story:
    """Turns of one partition. `acting` are the offsets of amendments that must act, `made` counts all of them."""

    def __init__(self, seed: int, horizon_ms: int = LONG_MS) -> None:
        self.rng, self.bench = random.Random(seed), Bench(Timing(horizon_ms=horizon_ms))
        self.known: dict[int, Known] = {}
        self.acting: set[int] = set()
        self.made = 0
        self.horizon_ms = horizon_ms
        self.now_ms = NOW_S * 1000 + 4 * 3_600_000 if horizon_ms == LONG_MS else NOW_S * 1000 + SECONDS * 1000

    def turn(self) -> None:
        """Some events, an amendment, and a fold, a flush, an emission or a crash; where windows become final, time goes on."""
        rng = self.rng
        if self.horizon_ms == SHORT_MS:
            self.now_ms += rng.choice((0, 1000, 600_000))
        for _ in range(rng.randrange(4)):
            self._event()
        self.settle()
        if self.known:
            rng.choice((self._amend, self._amend, self._amend, self._race, self._correct, self._overdraw, self._begin))()
        self.bench.fold(save=rng.random() < 0.6)
        self._learn()
        if rng.random() < 0.3:
            self.bench.emit(FAR_MS)
        if rng.random() < 0.2:
            self.bench.restart()

    def final_s(self) -> int:
        """Up to there windows are final."""
        return (self.now_ms - self.horizon_ms) // 1000

    def is_live(self, at_s: int, *meters: Meter) -> bool:
        """Whether the windows of an instant may still change."""
        return all(at_s // meter.window_s * meter.window_s + meter.window_s > self.final_s() for meter in meters)

    def settle(self) -> None:
        """Everything of the log is folded (again, after a crash)."""
        self.bench.fold(save=False)
        self._learn()

    def _event(self) -> None:
        rng = self.rng
        customer, signed = rng.choice((FIRST, SECOND)), rng.random() < 0.3
        if self.known and rng.random() < 0.2:
            copied = self.bench.log.records[rng.choice(list(self.known))]
            self.bench.log.add(copied.key, copied.value, copied.timestamp_ms)
            return
        self._event_at(customer, self.now_ms // 1000 - rng.randrange(SECONDS), signed=signed)

    def _event_at(self, customer: str, at_s: int, *, signed: bool) -> None:
        rng = self.rng
        quantity = Fraction(rng.randrange(-50, 50) if signed else rng.randrange(50), rng.choice((1, 1, 8)))
        if at_s < self.final_s():
            return
        kind = "wallet.change" if signed else "api.request"
        offset = self.bench.event(_text(quantity), at_s, customer, kind, self.now_ms)
        self.known[offset] = Known(customer, at_s, quantity, signed=signed)

    def _amend(self) -> None:
        """A void or a set of one event; sometimes stale."""
        offset = self.rng.choice(list(self.known))
        event = self.known[offset]
        stale = bool(event.spent) and self.rng.random() < 0.3
        wanted = Fraction(0) if self.rng.random() < 0.5 else Fraction(self.rng.randrange(60))
        at = self._send(offset, wanted, self.rng.choice(event.spent) if stale else event.digest)
        if not stale and self._may_change(event):
            self._acts(at, event, wanted)

    def _race(self) -> None:
        """Two at once, each of which saw the same: the first in the log acts."""
        offset = self.rng.choice(list(self.known))
        event, digest = self.known[offset], self.known[offset].digest
        first, second = Fraction(self.rng.randrange(60)), Fraction(self.rng.randrange(60, 90))
        at = self._send(offset, first, digest)
        self._send(offset, second, digest, since=event.quantity)
        if self._may_change(event):
            self._acts(at, event, first)

    def _may_change(self, event: Known) -> bool:
        return self.is_live(event.at_s, *event.meters)

    def _acts(self, at: int, event: Known, wanted: Fraction) -> None:
        self.acting.add(at)
        event.quantity = wanted
        event.spent.append(event.digest)
        event.digest = f"at {at}"

    def _send(self, offset: int, wanted: Fraction, replaces: str, since: Fraction | None = None) -> int:
        event = self.known[offset]
        delta = _text(wanted - (event.quantity if since is None else since))
        data = void_data(offset, [entry(meter, event.at_s, delta) for meter in event.meters], replaces=replaces, kind="set" if wanted else "void")
        self.made += 1
        return self.bench.amend(data, event.at_s, event.customer, at_ms=self.now_ms)

    def _correct(self) -> None:
        """A window corrected from the revision that it has, or from an older one."""
        self._correct_by(self.rng.randrange(100), stale=self.rng.random() < 0.3)

    def _overdraw(self) -> None:
        """A window corrected to far below zero: only of a meter that may."""
        self._correct_by(-1_000_000, stale=False)

    def _begin(self) -> None:
        """A window of which nothing is held is begun by a correction; the meter may know it from copies of an event, sent with another time."""
        rng, rows = self.rng, self.bench.partition.state.rows
        offset = rng.choice(list(self.known))
        event, at_s = self.known[offset], self.now_ms // 1000 - rng.randrange(SECONDS)
        if rng.random() < 0.2:
            ahead = entry(HOUR, at_s + 2 * SECONDS, "1", (NO_ROW, NO_ROW))  # no event can lie there yet, so no window may begin
            self.made += 1
            self.bench.amend(correct_data([ahead]), at_s + 2 * SECONDS, event.customer, at_ms=self.now_ms)
        start_s = at_s // HOUR.window_s * HOUR.window_s
        if event.signed or rows.get(Window(event.customer, HOUR.slug, start_s, start_s + HOUR.window_s)) is not None or at_s < self.final_s():
            return
        if rng.random() < 0.7:
            copied = json.loads(self.bench.log.records[offset].value or b"")
            self.bench.log.add(event.customer.encode(), json.dumps({**copied, "time": format_us(at_s * 10**6)}).encode(), self.now_ms)
        posting = entry(HOUR, at_s, str(rng.randrange(100)), (NO_ROW, NO_ROW))
        self.made += 1
        self.acting.add(self.bench.amend(correct_data([posting]), at_s, event.customer, at_ms=self.now_ms))
        for _ in range(rng.randrange(3)):
            self._event_at(event.customer, start_s + rng.randrange(min(HOUR.window_s, self.now_ms // 1000 - start_s)), signed=False)

    def _correct_by(self, quantity: int, *, stale: bool) -> None:
        rows = [row for row in self.bench.partition.state.rows.all() if row.window.meter != "daily"]
        if not rows:
            return
        row = self.rng.choice(rows)
        meter = SIGNED if row.window.meter == "credit" else HOUR
        posting = entry(meter, row.window.start_s, str(quantity), (0, row.through_offset - stale))
        self.made += 1
        at = self.bench.amend(correct_data([posting]), row.window.start_s, row.window.customer, at_ms=self.now_ms)
        if not stale and self.is_live(row.window.start_s, meter) and (quantity >= 0 or meter is SIGNED):
            self.acting.add(at)

    def _learn(self) -> None:
        """Digests are the product's: put them where a name stands for them."""
        held: dict[str, Any] = {f"at {one.offset}": one.digest for one in self._amendments()}
        for event in self.known.values():
            event.digest = held.get(event.digest, event.digest)
            event.spent = [held.get(one, one) for one in event.spent]

    def _amendments(self) -> list[Any]:
        links = self.bench.partition.state.amended.links()
        return [_Named(link.coordinate[1], link.digest) for link in links]


class _Named:
    def __init__(self, offset: int, digest: str) -> None:
        self.offset, self.digest = offset, digest


def _text(quantity: Fraction) -> str:
    """A decimal string of an eighth."""
    thousandths = quantity * 1000
    whole = int(thousandths)
    sign, size = ("-" if whole < 0 else ""), abs(whole)
    return f"{sign}{size // 1000}.{size % 1000:03d}"
