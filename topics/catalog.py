"""The eight topics as one typed table: name, cleanup, timestamps, retention, largest message, who writes, who reads.

Faust declares none of them (`topics apply` does); a missing or wrong one is an error at start (`topics check`).
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

MIB: Final = 1024 * 1024
DAY_MS: Final = 86_400_000


class Topic(NamedTuple):
    """One topic: `retention_ms` −1 keeps for ever; `max_message_bytes` is the broker's limit for a record batch."""

    name: str
    key: str
    cleanup: Literal["delete", "compact"]
    log_append_time: bool
    retention_ms: int
    max_message_bytes: int
    writers: str
    readers: str


EVENTS: Final = "usage.events"
STATE: Final = "usage.state"
WINDOWS: Final = "usage.windows"
DEFINITIONS: Final = "usage.definitions"
RECEIPTS: Final = "usage.receipts"
VERDICTS: Final = "usage.verdicts"
REJECTED: Final = "usage.rejected"
NOTICES: Final = "usage.notices"

DEFAULT_RETENTION_MS: Final = 7 * DAY_MS
"""How long a worker may stand still without losing an event; `kafka.retention` changes it for `usage.events` only."""


def catalog(events_retention_ms: int = DEFAULT_RETENTION_MS) -> tuple[Topic, ...]:
    """All eight topics. `usage.events` stamps LogAppendTime: "now" of law 0 is the broker's, not a producer's."""
    return (
        Topic(EVENTS, "customer", "delete", True, events_retention_ms, MIB, "producers, control, meter (re-routed)", "meter, archive"),
        Topic(STATE, "segment", "compact", False, -1, 2 * MIB, "meter", "meter"),
        Topic(WINDOWS, "window key", "delete", False, 30 * DAY_MS, MIB, "meter", "report, archive"),
        Topic(DEFINITIONS, "kind, id, valid_from", "compact", False, -1, MIB, "meter", "apply, report, archive"),
        Topic(RECEIPTS, "provider, account, cell", "compact", False, -1, MIB, "report", "report, archive"),
        Topic(VERDICTS, "as received", "delete", False, 30 * DAY_MS, MIB, "meter", "archive"),
        Topic(REJECTED, "as received", "delete", False, 30 * DAY_MS, 2 * MIB, "meter", "archive, dead-letters"),
        Topic(NOTICES, "customer", "delete", False, 30 * DAY_MS, MIB, "webhooks", "applications"),
    )


TOPIC_NAMES: Final = tuple(topic.name for topic in catalog())
