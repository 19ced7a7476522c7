"""What the provider says of one customer: totals of its items, hours or days of its meters, lines of its final invoices, prices.

Calls go through the production client, a share of the account's rate at a time, so that a run never gets in the way of the report.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple, Protocol, TypeVar, cast

from infra.reconciling.books import BucketSaid, InvoiceRead, LineSaid, SummarySaid
from infra.reconciling.totals import whole_lines
from sinks.cells import BUCKET_S
from sinks.limiter import TokenBucket
from sinks.outcomes import RetryAfter
from sinks.readback import Summary
from sinks.stripe.access import Eras
from sinks.stripe.invoice_line import InvoiceLine, line_of, subscription_of
from sinks.stripe.objects import Price, read
from sinks.stripe.refusal import StripeRefusal
from sinks.stripe.request import summaries_path
from topics.errors import TidemarkError, Unreachable
from topics.quantity import ONE, parse

LONGEST_ASK_S: Final = 30 * 86_400
"""Of a meter's hours so many seconds are asked for at once: eight pages of a hundred."""
PAUSES_S: Final = (0.2, 1.0)
"""After a refusal that passes (429, 5xx) it is asked again: else some customers of each run would not be checked."""
T = TypeVar("T")


class Reading(Protocol):
    """What reads a meter's totals exactly: `sinks.stripe.client.StripeAccess`."""

    def event_summaries(self, event_name: str, customer: str, grouping: str, start_s: int, end_s: int) -> list[Summary] | RetryAfter:
        """A customer's usage of a meter by UTC hours or days."""
        ...


class Metered(NamedTuple):
    """A meter of the provider's, and the span of seconds in which cells of ours lie."""

    event_name: str
    customer: str
    aggregation: str
    start_s: int
    end_s: int


class Asked(NamedTuple):
    """What is asked of one customer: items with usage records, meters, invoices known from the log."""

    items: tuple[str, ...]
    meters: tuple[Metered, ...]
    invoices: tuple[str, ...]


class Answers(NamedTuple):
    """What came, `buckets` by the provider's (meter, customer); `problems` are what could not be read, and then nothing is said of it (None).

    `read` are the invoices that were read, `gone` items of which the provider says that there are none."""

    summaries: dict[str, tuple[SummarySaid, ...]]
    buckets: dict[tuple[str, str], tuple[BucketSaid, ...]]
    lines: tuple[LineSaid, ...]
    problems: tuple[str, ...]
    read: tuple[InvoiceRead, ...] = ()
    gone: frozenset[str] = frozenset()


class Asking:
    """One account. `pause` is told how many calls are about to start."""

    def __init__(self, eras: Eras, pause: Callable[[], None] = lambda: None) -> None:
        self._eras = eras
        self._pause = pause
        self._prices: dict[str, Price | None] = {}

    def ask(self, asked: Asked) -> Answers:
        """Everything of one customer."""
        problems: list[str] = []
        summaries: dict[str, tuple[SummarySaid, ...]] = {}
        buckets: dict[tuple[str, str], tuple[BucketSaid, ...]] = {}
        lines: list[LineSaid] = []
        read_: list[InvoiceRead] = []
        gone: set[str] = set()
        for item in asked.items:
            if (totals := self._guarded(partial(self._summaries, item, gone), problems)) is not None:
                summaries[item] = totals
        for each in asked.meters:
            if (usage := self._guarded(partial(self._buckets, each), problems)) is not None:
                buckets[each.event_name, each.customer] = usage
        for name in sorted({*asked.invoices, *(said.invoice for found in summaries.values() for said in found if said.invoice)}):
            if (said := self._guarded(partial(self._of_invoice, name), problems)) is not None:
                read_.append(said[0])
                lines += said[1]
        return Answers(summaries, buckets, tuple(lines), tuple(problems), tuple(read_), frozenset(gone))

    def _guarded(self, ask: Callable[[], T], problems: list[str]) -> T | None:
        """What came, or None with the reason listed: one customer's refusal does not end the others' reconciliation. A key that is refused does:
        nothing would be read of anybody, and every number be called the same."""
        for pause_s in (*PAUSES_S, None):
            self._pause()
            try:
                return ask()
            except Unreachable:
                raise
            except TidemarkError as error:
                status = error.status if isinstance(error, StripeRefusal) else 0
                if status in {401, 403}:
                    raise Unreachable(str(error)) from None
                if pause_s is None or not (status == 429 or status >= 500):
                    problems.append(str(error))
                    return None
                time.sleep(pause_s)
        return None

    def _summaries(self, item: str, gone: set[str]) -> tuple[SummarySaid, ...]:
        """An item's totals per period; the period to come has no edges yet. An item that is gone has none, and is told."""
        found = []
        for row in self._rows(item, gone):
            period = row.get("period") or {}
            start_s, end_s, units = period.get("start"), period.get("end"), row.get("total_usage")
            if not isinstance(units, int):
                raise TidemarkError(f"the totals of {item} are not as Stripe documents them")
            if isinstance(start_s, int) and isinstance(end_s, int):
                found.append(SummarySaid(item, start_s, end_s, units, str(row.get("invoice") or "")))
        return tuple(found)

    def _rows(self, item: str, gone: set[str]) -> Iterable[dict[str, Any]]:
        try:
            yield from self._eras.old.pages(summaries_path(item))
        except StripeRefusal as error:
            if error.code != "resource_missing":
                raise
            gone.add(item)

    def _buckets(self, asked: Metered) -> tuple[BucketSaid, ...]:
        reading = cast("Reading", self._eras.old)
        grouping = "day" if asked.aggregation == "day" else "hour"
        length_s = BUCKET_S[grouping]
        start_s, end_s = asked.start_s // length_s * length_s, -(-asked.end_s // length_s) * length_s
        found: list[BucketSaid] = []
        for from_s in range(start_s, end_s, LONGEST_ASK_S):
            self._pause()
            answered = reading.event_summaries(asked.event_name, asked.customer, grouping, from_s, min(from_s + LONGEST_ASK_S, end_s))
            if isinstance(answered, RetryAfter):
                raise (Unreachable if answered.down else TidemarkError)(f"the usage of meter {asked.event_name} cannot be read: {answered.sentence}")
            found += [BucketSaid(asked.event_name, each.start_s, each.end_s, each.total, asked.customer) for each in answered]
        return tuple(found)

    def _of_invoice(self, name: str) -> tuple[InvoiceRead, tuple[LineSaid, ...]]:
        """An invoice, and its usage lines of periods that were over when it was made."""
        # Under the modern version a line says its parts of a unit too (`quantity_decimal`).
        invoice = self._eras.modern.get(f"/v1/invoices/{name}")
        shown: Mapping[str, Any] = invoice.get("lines") or {}
        rows = self._eras.modern.pages(f"/v1/invoices/{name}/lines") if shown.get("has_more") else shown.get("data", [])
        said = list(_lines(rows, invoice))
        # Only where units come to nothing is it asked whether they lie in a trial.
        free = {line.subscription for line, _ in said if line.units and not line.amount and line.subscription}
        trials = {subscription: self._trial_end_s(subscription) for subscription in sorted(free)}
        ends = frozenset(line.end_s for line, _ in said)
        invoice_read = InvoiceRead(name, str(invoice.get("status")), subscription_of(invoice), ends)
        return invoice_read, whole_lines(held._replace(is_trial=held.end_s <= trials.get(line.subscription, -1)) for line, held in said)

    def _trial_end_s(self, subscription: str) -> int:
        self._pause()
        found = self._eras.modern.get(f"/v1/subscriptions/{subscription}").get("trial_end")
        return found if isinstance(found, int) else -1

    def price(self, name: str) -> Price | None:
        """A price with its tiers, asked for once; None where it cannot be read."""
        if name not in self._prices:
            self._pause()
            try:
                self._prices[name] = read(self._eras.old.get(f"/v1/prices/{name}", expand=["tiers"]), Price)
            except Unreachable:
                raise
            except TidemarkError:
                self._prices[name] = None
        return self._prices[name]


def _lines(rows: Iterable[Mapping[str, Any]], invoice: Mapping[str, Any]) -> Iterable[tuple[InvoiceLine, LineSaid]]:
    """Lines as they bill a subscription item's past period, with the decimals that Stripe shows. A proration bills a share of a price, no usage."""
    for row in rows:
        line = line_of(row, invoice)
        if line is None or line.proration or line.end_s > int(invoice.get("created") or 0):
            continue
        exact = row.get("quantity_decimal")
        scaled = parse(exact) if isinstance(exact, str) else line.units * ONE
        place = (line.invoice, line.status, line.id, line.item, line.price, line.start_s, line.end_s)
        yield line, LineSaid(*place, scaled, line.amount, line.currency)


class Pace:
    """At most so many calls a second, waiting where it must."""

    def __init__(self, calls_per_second: float) -> None:
        self._bucket = TokenBucket(calls_per_second)

    def __call__(self) -> None:
        """Wait for one call's turn."""
        while (wait_ms := self._bucket.wait_ms(_now_ms())) > 0:
            time.sleep(wait_ms / 1000)
        self._bucket.spend(1)


def _now_ms() -> int:
    return int(time.monotonic() * 1000)


