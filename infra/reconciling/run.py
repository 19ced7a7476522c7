"""One run of `tidemark reconcile`: opens archive, account and Kafka, goes through the books page by page, and adds up what is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from infra.clock import now_ms
from infra.reconciling.archive import Archive
from infra.reconciling.asking import Asking, Pace
from infra.reconciling.coverage import periods
from infra.reconciling.drift import KINDS
from infra.reconciling.find import find
from infra.reconciling.following import Following
from infra.reconciling.found import MOST_KEPT, Found
from infra.reconciling.gaps import in_gaps
from infra.reconciling.sources import Order, Sources
from infra.reconciling.suspects import Suspects

if TYPE_CHECKING:
    from infra.settings import Settings

SHARE: Final = 4
"""A run takes a quarter of the rate that the settings give an account: three quarters are the report's at any time."""

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
        archive = Archive(reader)
        suspects = Suspects(archive, reader, settings.kafka.bootstrap)
        sources = Sources(archive, asking, now_ms(), Following(settings.kafka.bootstrap), suspects)
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
    if not order.customer and not order.meter:
        for drift in in_gaps(sources.lacking(), found.drifts):
            found.take(drift)
    found.drifts.sort(key=lambda drift: KINDS.index(drift.kind))
    found.problems = sources.said.problems
    return found
