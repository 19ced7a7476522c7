"""One run of `tidemark reconcile`: opens archive, account and Kafka, goes through the books page by page, and adds up what is found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from infra.clock import now_ms
from infra.reconciling.archive import Archive
from infra.reconciling.asking import Asking, Pace
from infra.reconciling.coverage import Coverage, PeriodRow, periods
from infra.reconciling.drift import KINDS, Drift
from infra.reconciling.find import find
from infra.reconciling.following import Following
from infra.reconciling.sources import Order, Sources

if TYPE_CHECKING:
    from infra.settings import Settings

SHARE: Final = 4
"""A run takes a quarter of the rate that the settings give an account: three quarters are the report's at any time."""
MOST_KEPT: Final = 10_000
"""Drifts and periods that a run keeps whole; all are counted."""


@dataclass
class Found:
    """What came of a run. `money` adds up the known amounts by currency; `periods` are kept for one customer's run only."""

    drifts: list[Drift] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    money: Counter[str] = field(default_factory=Counter)
    coverage: Coverage = field(default_factory=Coverage)
    periods: list[PeriodRow] = field(default_factory=list)
    checked: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """True where nothing was found."""
        return not self.counts

    def take(self, drift: Drift) -> None:
        """One more."""
        self.counts[drift.kind] += 1
        if drift.amount is not None:
            self.money[drift.currency] += drift.amount
        if len(self.drifts) < MOST_KEPT:
            self.drifts.append(drift)

    def document(self) -> dict[str, Any]:
        """For a program."""
        return {
            "clean": self.is_clean,
            "counts": {kind: self.counts[kind] for kind in KINDS},
            "money": dict(self.money),
            "drifts": [drift.document() for drift in self.drifts],
            "coverage": self.coverage.document(),
            "periods": [row.document() for row in self.periods],
            "checked": dict(self.checked),
            "unchecked": list(self.problems),
        }


@contextmanager
def opened(settings: Settings) -> Iterator[Sources]:
    """The sources of these settings. Without a key the provider is not asked, and that is said."""
    from infra.reading import clickhouse
    from infra.stripe_catalog import access

    with ExitStack() as ending:
        reader = clickhouse(settings)
        ending.callback(reader.close)
        asking = None
        if settings.stripe.api_key is not None:
            eras = ending.enter_context(access(settings, live=settings.stripe.live))
            asking = Asking(eras, Pace(max(1.0, settings.stripe.calls_per_second / SHARE)))
        sources = Sources(Archive(reader), asking, now_ms(), Following(settings.kafka.bootstrap))
        if asking is None:
            sources.said.problems.append("STRIPE_API_KEY is not set: what the provider holds was not read")
        yield sources


def reconcile(sources: Sources, order: Order, tell: Callable[[str], None] = lambda _: None) -> Found:
    """Everything that the order asks for. Raises Unreachable where archive or provider do not answer."""
    found = Found()
    for books in sources.books(order):
        tell(books.customer)
        for drift in find(books):
            found.take(drift)
        found.coverage.add(books)
        found.checked.update(
            meters=1,
            windows=len(books.windows),
            revisions=sum(each.recount is not None for book in books.windows for each in book.revisions),
            cells=len(books.cells),
            totals=len(books.summaries or ()) + len(books.buckets or ()),
            lines=len(books.lines),
        )
        if len(found.periods) < MOST_KEPT:
            found.periods += periods(books)
    found.drifts.sort(key=lambda drift: KINDS.index(drift.kind))
    found.problems = sources.said.problems
    return found
