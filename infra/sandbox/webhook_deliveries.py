"""What is to be sent to whom, when, and what became of it. A delivery is planned with its event and so outlives a kill; it is tried again
until it was answered 2xx or its attempts are spent.

Source: https://docs.stripe.com/webhooks#behaviors (no order, copies may come, retries with growing pauses).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from infra.sandbox.knobs import Knobs
from infra.sandbox.resources import Json
from infra.sandbox.store import Store
from infra.sandbox.webhook_targets import Target

NEW_S = -1.0
"""`due_s` of what was just planned: when it is to be sent is decided by the first look at it, which knows clock and knobs."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery that is due: its number, event and target, and how often it was tried."""

    seq: int
    event: str
    target: str
    attempts: int


def plan(store: Store, event: str, wanted: Iterable[Target]) -> None:
    """Plans an event's deliveries; within the transaction of the event."""
    for each in wanted:
        store.run("INSERT INTO deliveries (event, endpoint, due_s) VALUES (?, ?, ?)", (event, each.id, NEW_S))


def begin(store: Store, knobs: Knobs, now_s: float) -> None:
    """Decides when what is new is sent: at once, or by the knobs later, out of order, and some of it twice; within a transaction."""
    for seq, event, target in store.run("SELECT seq, event, endpoint FROM deliveries WHERE state = 'pending' AND due_s = ?", (NEW_S,)).fetchall():
        first_s = now_s + knobs.webhook_delay_s
        store.run("UPDATE deliveries SET due_s = ? WHERE seq = ?", (first_s + knobs.webhook_shuffle_s * _share(knobs, seq, "wait"), seq))
        if _share(knobs, seq, "copy") < knobs.webhook_copies:
            due_s = first_s + knobs.webhook_shuffle_s * _share(knobs, seq, "copy's wait")
            store.run("INSERT INTO deliveries (event, endpoint, due_s) VALUES (?, ?, ?)", (event, target, due_s))


def due(store: Store, now_s: float, most: int, under_way: Iterable[int] = ()) -> list[Delivery]:
    """Up to `most` deliveries whose time has come, in its order, without those that are being sent."""
    busy = set(under_way)
    rows = store.run(
        "SELECT seq, event, endpoint, attempts FROM deliveries WHERE state = 'pending' AND due_s >= 0 AND due_s <= ? ORDER BY due_s, seq LIMIT ?",
        (now_s, most + len(busy)),
    )
    return [Delivery(*row) for row in rows if row[0] not in busy][:most]


def answered(store: Store, knobs: Knobs, delivery: Delivery, *, delivered: bool, answer: str, now_s: float) -> None:
    """What an attempt came to: `answer` is an HTTP status or why there was none; within a transaction."""
    attempts = delivery.attempts + 1
    pause_s = None if delivered else retry_after_s(knobs, attempts)
    state = "delivered" if delivered else "failed" if pause_s is None else "pending"
    store.run(
        "UPDATE deliveries SET attempts = ?, state = ?, answer = ?, due_s = ? WHERE seq = ?",
        (attempts, state, answer, now_s + (pause_s or 0.0), delivery.seq),
    )


def gone(store: Store, delivery: Delivery) -> None:
    """Ends a delivery whose event or target is no more, or whose target is disabled; within a transaction."""
    store.run("UPDATE deliveries SET state = 'failed', answer = 'no target' WHERE seq = ?", (delivery.seq,))


def retry_after_s(knobs: Knobs, attempts: int) -> float | None:
    """Seconds until the next attempt after so many, each pause twice the one before up to the longest; None: there is no further one."""
    if attempts > knobs.webhook_retries:
        return None
    return min(knobs.webhook_retry_longest_s, knobs.webhook_retry_s * 2.0 ** min(attempts - 1, 60))


def forged(knobs: Knobs, delivery: Delivery) -> bool:
    """Whether this attempt is signed with a secret that the receiver does not know."""
    return _share(knobs, delivery.seq, f"forged {delivery.attempts}") < knobs.webhook_forged


def pending(store: Store, event: str) -> int:
    """How many deliveries of an event have not been answered 2xx yet (`pending_webhooks`)."""
    return int(store.run("SELECT count(*) FROM deliveries WHERE event = ? AND state = 'pending'", (event,)).fetchone()[0])


def answered_at(store: Store, event_type: str, about: str) -> float | None:
    """When the last delivery of the events of a type about an object was answered 2xx, or given up; None while one is pending.

    0 where none was ever planned, because nobody wants such events.
    """
    row = store.run(
        "SELECT max(due_s), coalesce(sum(state = 'pending'), 0) FROM deliveries JOIN happened ON happened.id = deliveries.event "
        "WHERE happened.type = ? AND happened.about = ?",
        (event_type, about),
    ).fetchone()
    return None if row[1] else float(row[0] or 0)


def shown(store: Store) -> list[Json]:
    """Every delivery, in order of planning, for the control URL."""
    rows = store.run("SELECT event, endpoint, due_s, attempts, state, answer FROM deliveries ORDER BY seq")
    names = ("event", "endpoint", "due_s", "attempts", "state", "answer")
    return [dict(zip(names, row, strict=True)) for row in rows]


def _share(knobs: Knobs, seq: int, purpose: str) -> float:
    """A number in [0, 1) by seed: the same delivery meets the same fate in every run that plans the same deliveries."""
    text = f"{knobs.webhook_seed}\x00{seq}\x00{purpose}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64
