"""One run of `tidemark reconcile --repair`: what would put each drift right, and with `--apply` it is done, through the log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from infra.clock import now_ms
from infra.reconciling.applying import Done, apply, steps_of
from infra.reconciling.find import find
from infra.reconciling.found import UNCHECKED
from infra.reconciling.gaps import in_gaps
from infra.reconciling.repairs import propose, propose_rows, summary
from infra.reconciling.sources import Order, Sources
from infra.reconciling.steps import Proposal
from topics.errors import UsageError

if TYPE_CHECKING:
    from infra.reconciling.applying import Log
    from infra.settings import Settings
    from sinks.clickhouse.client import ClickHouse


@dataclass
class Repaired:
    """What was proposed, and what became of the steps (none: a dry run)."""

    proposals: list[Proposal] = field(default_factory=list)
    done: list[Done] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    is_applied: bool = False

    @property
    def is_clean(self) -> bool:
        """True where there is nothing to repair."""
        return not self.proposals

    @property
    def is_done(self) -> bool:
        """True where all was carried out, and nothing is left to a person."""
        return self.is_applied and all(done.is_done for done in self.done) and not any(each.by_hand for each in self.proposals)

    @property
    def exit_code(self) -> int:
        """0: nothing is left to do; 1: something is; 4: nothing that could be looked at is."""
        return 1 if not (self.is_clean or self.is_done) else UNCHECKED if self.problems else 0

    def document(self) -> dict[str, Any]:
        """For a program."""
        return {
            "applied": self.is_applied,
            "complete": not self.problems,
            "proposals": [proposal.document() for proposal in self.proposals],
            "money": summary(self.proposals),
            "steps": [{"step": type(done.step).__name__, "done": done.is_done, "sentence": done.sentence} for done in self.done],
            "unchecked": list(self.problems),
        }


@contextmanager
def onto_stack(settings: Settings) -> Iterator[tuple[Log, ClickHouse]]:
    """Where repairs are carried out: the log on Kafka, and the archive."""
    from infra.reading import clickhouse
    from infra.reconciling.kafka_log import KafkaLog
    from sinks.clickhouse.restoring import generations

    archive = clickhouse(settings)
    try:
        yield KafkaLog(settings.kafka.bootstrap, lambda: generations(archive)), archive
    finally:
        archive.close()


def repair(
    sources: Sources, order: Order, reason: str, onto: tuple[Log, ClickHouse] | None, tell: Callable[[str], None] = lambda _: None
) -> Repaired:
    """Proposals for everything that the order asks for; `onto`: where they are carried out (None: a dry run). Raises Unreachable, UsageError."""
    if onto is not None and not reason.strip():
        raise UsageError('say why it is repaired: --reason "the item was edited by hand, ticket 12"; it is kept in the log')
    repaired, read_at_ms = Repaired(is_applied=onto is not None), now_ms()
    for books in sources.books(order):
        tell(books.customer)
        repaired.proposals += propose(books, find(books), reason, read_at_ms)
    if not order.customer and not order.meter:
        repaired.proposals += propose_rows(in_gaps(sources.lacking(), [each.drift for each in repaired.proposals]))
    repaired.problems = sources.said.problems
    if onto is not None:
        repaired.done = apply(steps_of(repaired.proposals), *onto)
    return repaired
