"""`tidemark check` at Stripe: every bound price, meter, item and setting that would bill wrongly, all at once (hazard H31).

Only reads. What is wrong is decided in `sinks/stripe/suitability.py`; here stands what is asked, and where in the file each answer belongs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from infra.settings_stripe import has_live_key, terms_of
from infra.stripe_catalog import access
from topics.errors import Fault, TidemarkError, Unreachable

if TYPE_CHECKING:
    from infra.settings import CustomerSettings, ItemSettings, Settings
    from sinks.stripe.access import Eras
    from sinks.stripe.objects import BillingMeter, Row, Subscription
    from sinks.stripe.suitability import Finding, Terms

STRIPE_HOST: Final = "api.stripe.com"
TEST_CALLS_PER_SECOND: Final = 25
"""What Stripe allows a test account (rate limits page)."""


CREATED: Final = "invoice.created"
"""Stripe waits for its answer before it finalises a draft (Status transitions and finalization)."""


class Answered(NamedTuple):
    """What would bill wrongly, and what is worth saying."""

    faults: list[Fault]
    notes: list[str]

    def take(self, place: str, findings: Iterable[Finding]) -> None:
        """Findings about one place."""
        for finding in findings:
            if finding.fault:
                self.faults.append(Fault(place, finding.problem, finding.remedy))
            else:
                self.notes.append(f"{place}: {finding.problem}")


def preflight(settings: Settings) -> Answered:
    """Asks the account of the settings about everything that they bind. Nothing where no key is set or nothing is bound. Raises Unreachable."""
    found = Answered([], [])
    if settings.stripe.api_key is None or not settings.meters:
        return found
    _key(settings, found)
    with access(settings) as eras:
        _Questions(settings, eras, found).ask()
    return found


def _key(settings: Settings, found: Answered) -> None:
    stripe = settings.stripe
    if has_live_key(stripe) and not stripe.live:
        problem = "STRIPE_API_KEY is a live key, and the report worker takes none unless it is told to"
        found.faults.append(Fault("stripe.live", problem, "Write live = true where real invoices are meant, or set a test key."))
    if not has_live_key(stripe) and urlsplit(stripe.api_base).hostname == STRIPE_HOST and stripe.calls_per_second > TEST_CALLS_PER_SECOND:
        said = f"a test account takes {TEST_CALLS_PER_SECOND} calls a second: some of {stripe.calls_per_second} will be refused and repeated"
        found.notes.append(f"stripe.calls_per_second: {said}")


class _Questions:
    """One run of questions."""

    def __init__(self, settings: Settings, eras: Eras, found: Answered) -> None:
        from sinks.stripe.access import meters_of

        self._settings = settings
        self._eras = eras
        self._found = found
        self._terms = terms_of(settings)
        needed = any(terms.mode == "meters" for terms in self._terms)
        self._meters: dict[str, BillingMeter] = meters_of(eras.modern) if needed else {}

    def ask(self) -> None:
        """Meters of the file, the base price, items of the file, then what the account's subscriptions bind."""
        for index, terms in enumerate(self._terms):
            self._meter(f"meters[{index}]", terms)
        self._base()
        for index, customer in enumerate(self._settings.customers):
            for number, item in enumerate(customer.items):
                self._item(f"customers[{index}].items[{number}]", customer, item)
        self._account()
        self._gate()

    def _meter(self, place: str, terms: Terms) -> None:
        from sinks.stripe.objects import Price, read
        from sinks.stripe.suitability import meter_findings, price_findings

        if terms.price:
            row = self._said(f"{place}.stripe_price", f"/v1/prices/{terms.price}", legacy=terms.mode == "usage_records")
            if row is None:
                return
            price = read(row, Price)
            self._found.take(f"{place}.stripe_price", price_findings(terms, price, self._meters))
            if not price.active:
                problem = f"price {price.id} is archived: no subscription can be given it"
                self._found.faults.append(Fault(f"{place}.stripe_price", problem, "Name a price that is active."))
        elif terms.meter:
            meter = self._meters.get(terms.meter)
            if meter is None:
                problem = f"this account has no meter {terms.meter}"
                self._found.faults.append(Fault(f"{place}.stripe_meter", problem, "Name one of this account's meters."))
            else:
                self._found.take(f"{place}.stripe_meter", meter_findings(terms, meter))

    def _base(self) -> None:
        from sinks.stripe.objects import Price, read
        from sinks.stripe.setup import base_faults

        if self._settings.stripe.base_price is not None:
            row = self._said("stripe.base_price", f"/v1/prices/{self._settings.stripe.base_price}", legacy=False)
            self._found.faults.extend([] if row is None else base_faults(read(row, Price)))

    def _item(self, place: str, customer: CustomerSettings, item: ItemSettings) -> None:
        from sinks.stripe.binding import read_item
        from sinks.stripe.suitability import item_findings

        terms = next(terms for terms in self._terms if terms.slug == item.meter)
        terms = terms._replace(scale=item.scale or terms.scale, price=item.price or terms.price)
        try:
            row, subscription = read_item(self._eras.of(legacy=terms.mode == "usage_records"), item.stripe_subscription_item)
        except Unreachable:
            raise
        except TidemarkError as error:
            remedy = "Name an item with a metered price that sums; `tidemark stripe setup` makes one."
            self._found.faults.append(Fault(place, str(error), remedy))
            return
        self._found.take(place, item_findings(terms, row, subscription, self._meters))
        self._found.faults.extend(_differences(place, customer, item, terms, (row, subscription)))

    def _account(self) -> None:
        from sinks.stripe.binding import choose, read_account

        names = {customer.stripe_customer: customer.id for customer in self._settings.customers if customer.stripe_customer}
        explicit = {customer.id for customer in self._settings.customers if customer.items}
        account = read_account(self._eras, self._terms, names, clocks=not has_live_key(self._settings.stripe))
        for customer, candidates in account.candidates.items():
            if customer not in explicit:
                self._found.take(f"Stripe, customer {customer!r}", choose(candidates, self._meters)[1])

    def _gate(self) -> None:
        """Whether anything keeps a draft waiting while Stripe does not answer us. The account's grace period is not to be read; so it is a note."""
        if self._settings.stripe.gate != "hold":
            return
        wanted = {CREATED, "*"}
        endpoints = self._eras.modern.pages("/v1/webhook_endpoints")
        if not any(each.get("status") == "enabled" and wanted & set(each.get("enabled_events") or ()) for each in endpoints):
            said = (
                f"no webhook endpoint of this account takes {CREATED}: unless its finalization grace period is longer than an hour, a draft is final "
                "before it can be held wherever Stripe does not answer us for that hour"
            )
            self._found.notes.append(f"stripe.gate: {said}")

    def _said(self, place: str, path: str, *, legacy: bool) -> dict[str, object] | None:
        """What stands at a URL, or None and a fault where nothing does."""
        try:
            return self._eras.of(legacy=legacy).get(path)
        except Unreachable:
            raise
        except TidemarkError as error:
            self._found.faults.append(Fault(place, str(error), "Name one of this account and mode."))
            return None


def _differences(
    place: str, customer: CustomerSettings, item: ItemSettings, terms: Terms, read: tuple[Row, Subscription]
) -> Iterable[Fault]:
    """Where the file says another thing than Stripe about an item: windows would be cut, or adjusted, at the wrong place."""
    row, subscription = read
    if terms.price and terms.price != row.price.id:
        yield Fault(f"{place}.price", f"the file says {terms.price}, Stripe says {row.price.id}", "Name the item that has this price.")
    if customer.stripe_customer and customer.stripe_customer != subscription.customer_id:
        problem = f"item {row.id} belongs to {subscription.customer_id}, the file says {customer.stripe_customer}"
        yield Fault(place, problem, "Name an item of this customer: another one would be billed.")
    recurring = row.price.recurring
    if recurring is None:
        return
    if item.period is not None and (item.period, 1) != (recurring.interval, recurring.interval_count):
        problem = f"the file says {item.period}, Stripe bills each {recurring.interval_count} {recurring.interval}"
        yield Fault(f"{place}.period", problem, "Delete period: Stripe is asked then.")
    if item.period_anchor_s is not None and not _same_cycle(item.period_anchor_s, subscription.billing_cycle_anchor, row):
        problem = f"no period of subscription {subscription.id} begins there: windows would lie across its invoices"
        yield Fault(f"{place}.period_anchor", problem, "Delete period_anchor: Stripe is asked then.")


def _same_cycle(said_s: int, anchor_s: int, row: Row) -> bool:
    """Whether both anchors make the same edges: each of a year's edges of the one is an edge of the other (the 28th is not the 31st)."""
    from topics.periods import edge, period_at

    recurring = row.price.recurring
    if recurring is None:
        return True
    cycle = recurring.interval, recurring.interval_count
    edges = (edge(said_s, *cycle, k) for k in range(13))
    return all(period_at(anchor_s, *cycle, at_s).start_s == at_s for at_s in edges)
