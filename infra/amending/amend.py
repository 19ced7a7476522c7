"""`tidemark amend`: find the event, say what amending it does, publish, and say what the meter made of it."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from infra.amending.drafts import Draft, NothingToDo, Original
from infra.amending.effects import Effect, effects
from infra.amending.finding import find
from infra.amending.publishing import Outcome, publish
from infra.apply import definitions_in_force
from infra.clock import now_ms
from infra.reading import clickhouse
from topics.definitions import Definitions
from topics.errors import UsageError
from topics.home import home_of
from topics.instants import US_PER_MS, US_PER_S, format_us
from topics.quantity import format_scaled, parse

if TYPE_CHECKING:
    from infra.settings import Settings

LIST: Final = """
SELECT formatDateTime(amended_at, '%Y-%m-%dT%H:%i:%SZ', 'UTC') AS at, amendment, customer, kind, amends AS event,
       concat(toString(kafka_partition), ':', toString(amends_offset)) AS coordinate, meter,
       formatDateTime(window_start, '%Y-%m-%dT%H:%i:%SZ', 'UTC') AS start, delta AS difference, state, who, reason, sentence
FROM amendments
WHERE ({customer:String} = '' OR customer = {customer:String})
ORDER BY amended_at DESC, kafka_partition, kafka_offset DESC, meter
LIMIT {limit:UInt32}
"""


class Amended(NamedTuple):
    """What a call came to. `state`: `unchanged` (it was so already), `dry run`, or what the meter said."""

    original: Original
    effects: list[Effect]
    state: Literal["unchanged", "dry run", "applied", "refused", "no answer"]
    sentence: str
    outcome: Outcome | None = None

    @property
    def exit_code(self) -> int:
        """0 it is as asked (or would be), 1 it was refused or would be, 3 no meter answered."""
        if self.state == "dry run":
            return int(any(effect.is_final for effect in self.effects))
        return {"refused": 1, "no answer": 3}.get(self.state, 0)

    def document(self) -> dict[str, Any]:
        """For a program; quantities as decimal strings."""
        original, of = self.original, self.original.of
        return {
            "state": self.state,
            "sentence": self.sentence,
            "event": {
                "id": of.id,
                "source": of.source,
                "customer": original.customer,
                "coordinate": f"{of.partition}:{of.offset}",
                "generation": of.generation,
                "time": format_us(original.occurred_at_us),
                "counts": {share.window.meter: format_scaled(share.now_scaled) for share in original.shares},
                "counted_first": {share.window.meter: format_scaled(share.was_scaled) for share in original.shares},
                "history": [
                    {"kind": past.kind, "who": past.who, "reason": past.reason, "at": format_us(past.received_at_ms * US_PER_MS)}
                    for past in original.history
                ],
            },
            "windows": [effect.document() for effect in self.effects],
            "amendment": None if self.outcome is None else f"{self.outcome.partition}:{self.outcome.offset}",
        }


def user() -> str:
    """Who calls: the user of this machine."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _check_sign(original: Original, draft: Draft, in_force: Definitions) -> None:
    """The meter refuses a negative total; that one event counts less than nothing it cannot see. Raises UsageError."""
    now = {share.window.meter: share.now_scaled for share in original.shares}
    for entry in draft.record.postings:
        meter = in_force.meter_at(entry.meter, original.occurred_at_us // US_PER_S)
        then = now.get(entry.meter, 0) + parse(entry.quantity)
        if then < 0 and (meter is None or not meter.allow_negative):
            raise UsageError(f"meter {entry.meter!r} takes no negative quantities: {format_scaled(then)} cannot be set")


async def amend(
    settings: Settings,
    draft: Callable[[Original], Draft],
    name: str,
    customer: str,
    source: str,
    timeout_s: float,
    *,
    dry_run: bool,
    tell: Callable[[str], None] = lambda _: None,
) -> Amended:
    """Finds the event that `name` means, drafts its amendment and, unless it is a dry run, publishes it. Raises TidemarkError, Unreachable.

    One effect: the record on the customer's home (`publishing.py` says what a crash costs).
    """
    reader = clickhouse(settings)
    try:
        original = find(reader, name, customer, source)
        try:
            drafted = draft(original)
        except NothingToDo as reason:
            return Amended(original, [], "unchanged", str(reason))
        in_force = await definitions_in_force(settings.kafka.bootstrap, settings.kafka.partitions)
        home = home_of(original.customer.encode(), settings.kafka.partitions)
        _check_sign(original, drafted, in_force[home])
        found = effects(reader, drafted, in_force[home], now_ms())
    finally:
        reader.close()
    if dry_run:
        return Amended(original, found, "dry run", "nothing was changed: this is a dry run")
    tell("waiting for the meter")
    (outcome,) = await publish(settings.kafka.bootstrap, settings.kafka.partitions, [drafted], timeout_s=timeout_s)
    if outcome.state == "refused":
        return Amended(original, found, "refused", f"refused: {outcome.sentence}", outcome)
    if outcome.state != "applied":
        return Amended(original, found, "no answer", outcome.sentence, outcome)
    done = f"amended at {outcome.partition}:{outcome.offset}; `tidemark amend list` shows it in a moment"
    return Amended(original, found, "applied", done, outcome)
