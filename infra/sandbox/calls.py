"""Counters of what was asked and answered, for tests and acceptance checks; they survive a restart."""

from __future__ import annotations

from collections import Counter
from typing import Any

from infra.sandbox.engine import Answer
from infra.sandbox.store import Store

_FACT = "calls"


class Calls:
    """Answers by endpoint and status, idempotency errors, replays, faults. Written back every now and then, and at once after an
    `idempotency_error`: the one count that must not be lost, because every run is judged by it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        kept = store.fact(_FACT) or {}
        self._endpoints: dict[str, Counter[str]] = {name: Counter(counts) for name, counts in kept.get("endpoints", {}).items()}
        self._others: Counter[str] = Counter(kept.get("others", {}))
        self._faults: Counter[str] = Counter(kept.get("faults", {}))
        self._dirty = False

    def count(self, answer: Answer) -> None:
        """Counts one answer, whether or not it will reach its caller."""
        self._endpoints.setdefault(answer.endpoint, Counter())[str(answer.status)] += 1
        self._dirty = True
        if answer.replayed:
            self._others["replayed"] += 1
        if answer.fault is not None:
            self._faults[answer.fault] += 1
        if answer.error == "idempotency_error":
            self._others["idempotency_errors"] += 1
            self.write_back()

    def write_back(self) -> None:
        """Writes the counters if they changed."""
        if not self._dirty:
            return
        kept = {"endpoints": self._endpoints, "others": self._others, "faults": self._faults}
        with self._store.transaction():
            self._store.set_fact(_FACT, kept)
        self._dirty = False

    def view(self) -> dict[str, Any]:
        """The counters as `GET /_sandbox/calls` shows them."""
        by_status: Counter[str] = Counter()
        for counts in self._endpoints.values():
            by_status.update(counts)
        return {
            "total": sum(by_status.values()),
            "by_status": dict(sorted(by_status.items())),
            "by_endpoint": {name: dict(sorted(counts.items())) for name, counts in sorted(self._endpoints.items())},
            "idempotency_errors": self._others["idempotency_errors"],
            "replayed": self._others["replayed"],
            "faults": dict(sorted(self._faults.items())),
        }
