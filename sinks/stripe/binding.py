"""Who is billed where, as Stripe has it: subscriptions' items become bindings, and what cannot be bound is said. For the command line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sinks.stripe.access import Eras, clocks_of, meters_of, subscriptions_of, subscriptions_of_customer, whole
from sinks.stripe.objects import METER, BillingMeter, Price, Row, Subscription, read
from sinks.stripe.suitability import BINDING, Finding, Terms, aggregation_of, customer_findings, item_findings
from topics.bindings import Item
from topics.errors import TidemarkError

if TYPE_CHECKING:
    from sinks.stripe.access import Access


class Candidate(NamedTuple):
    """An item of a subscription that one of our meters could be bound to."""

    terms: Terms
    row: Row
    subscription: Subscription


class Account(NamedTuple):
    """What an account holds that concerns our meters: candidates by customer (CloudEvents' `subject`)."""

    candidates: dict[str, list[Candidate]]
    meters: dict[str, BillingMeter]


class Synced(NamedTuple):
    """Items by customer, what was left out and why, and what is worth saying."""

    items: dict[str, tuple[Item, ...]]
    problems: list[str]
    notes: list[str]


def terms_of(price: Price, terms: Iterable[Terms]) -> Terms | None:
    """The meter of ours that a price bills: the one that names it, else the one in its metadata, else the one on whose Billing Meter it is."""
    terms = tuple(terms)
    named = [one for one in terms if one.price == price.id] or [one for one in terms if one.slug == price.metadata.get(METER)]
    meter = price.recurring.meter if price.recurring is not None else None
    named = named or [one for one in terms if meter is not None and one.mode == "meters" and one.meter == meter]
    return named[0] if named else None


def is_legacy(terms: Iterable[Terms]) -> bool:
    """Whether some meter is billed by usage records: then everything is read under the old API version, which alone shows `aggregate_usage`."""
    return any(one.mode == "usage_records" for one in terms)


def read_account(
    eras: Eras, terms: Sequence[Terms], names: Mapping[str, str] | None = None, *, clocks: bool = False, ended_after_s: int | None = None
) -> Account:
    """All items that concern our meters. `names`: Stripe customer → ours, where the file says so; `clocks`: test clocks are looked into too."""
    access = eras.of(legacy=is_legacy(terms))
    meters = meters_of(eras.modern) if any(one.mode == "meters" for one in terms) else {}
    frozen = clocks_of(access) if clocks else []
    said = names or {}
    found: dict[str, list[Candidate]] = {}
    for subscription in subscriptions_of(access, frozen, ended_after_s):
        customer = said.get(subscription.customer_id, subscription.customer_name)
        for row in subscription.items.data:
            meant = terms_of(row.price, terms)
            if meant is not None:
                found.setdefault(customer, []).append(Candidate(meant, row, subscription))
    return Account(dict(sorted(found.items())), meters)


def sync(
    eras: Eras, terms: Sequence[Terms], names: Mapping[str, str] | None = None, *, clocks: bool = False, ended_after_s: int | None = None
) -> Synced:
    """All subscriptions as items by customer. A price of no meter of ours is no problem; an item that would bill wrongly is, and is not taken.

    Of two running items for one meter neither is taken. A subscription that ended after `ended_after_s` binds up to its end, where none runs.
    """
    account = read_account(eras, terms, names, clocks=clocks, ended_after_s=ended_after_s)
    items: dict[str, tuple[Item, ...]] = {}
    problems, notes = list[str](), list[str]()
    for customer, candidates in account.candidates.items():
        bound_items, said = items_of(candidates, account.meters)
        for finding in said:
            sentence = f"customer {customer!r}: {finding.problem}"
            (problems if finding.fault else notes).append(sentence)
        if bound_items:
            items[customer] = bound_items
    return Synced(items, problems, notes)


def read_customers(
    eras: Eras, terms: Sequence[Terms], customers: Iterable[str], *, ended_after_s: int
) -> tuple[list[Candidate], dict[str, BillingMeter]]:
    """The items of some Stripe customers that concern our meters, and the account's Billing Meters: what `sync` sees of one customer of ours."""
    access = eras.of(legacy=is_legacy(terms))
    meters = meters_of(eras.modern) if any(one.mode == "meters" for one in terms) else {}
    found: list[Candidate] = []
    for customer in sorted(customers):
        for subscription in subscriptions_of_customer(access, customer, ended_after_s):
            for row in subscription.items.data:
                meant = terms_of(row.price, terms)
                found += [] if meant is None else [Candidate(meant, row, subscription)]
    return found, meters


def items_of(candidates: Sequence[Candidate], meters: Mapping[str, BillingMeter]) -> tuple[tuple[Item, ...], list[Finding]]:
    """One customer's items as its binding carries them, and everything there is to say about the others."""
    chosen, said = choose(candidates, meters)
    return tuple(bound(candidate, meters) for candidate in sorted(chosen, key=lambda one: one.terms.slug)), said


def choose(candidates: Sequence[Candidate], meters: Mapping[str, BillingMeter]) -> tuple[list[Candidate], list[Finding]]:
    """Of one customer's items those that are bound, and everything there is to say about the others."""
    said: list[Finding] = []
    running = [one for one in candidates if one.subscription.status in BINDING]
    there = {one.terms.slug for one in running}
    ended: dict[str, Candidate] = {}
    for one in sorted(candidates, key=lambda one: one.subscription.ended_at or 0):
        if one.subscription.ended_at is not None and one.terms.slug not in there:
            ended[one.terms.slug] = one
    considered = [*running, *ended.values()]
    right: list[Candidate] = []
    for one in considered:
        found = [finding for finding in item_findings(*one, dict(meters)) if not _is_its_end(finding, one)]
        said += found
        right += [] if any(finding.fault for finding in found) else [one]
    together = list(customer_findings([(one.terms, one.row) for one in considered]))
    slugs = [one.terms.slug for one in considered]
    owners = {(one.row.price.recurring.meter, one.terms.slug) for one in considered if one.row.price.recurring is not None}
    counts = Counter(meter for meter, _ in owners if meter is not None)

    def alone(one: Candidate) -> bool:
        recurring = one.row.price.recurring
        return slugs.count(one.terms.slug) == 1 and (recurring is None or counts[recurring.meter or ""] <= 1)

    return [one for one in right if alone(one)], said + together


def _is_its_end(finding: Finding, candidate: Candidate) -> bool:
    """That a subscription has ended is no fault where it is bound up to its end."""
    return finding.code == "status" and candidate.subscription.ended_at is not None


def bound(candidate: Candidate, meters: Mapping[str, BillingMeter]) -> Item:
    """The item as a binding carries it. Its price recurs: what does not is never chosen."""
    terms, row, subscription = candidate
    recurring = row.price.recurring
    if recurring is None:
        raise TidemarkError(f"price {row.price.id} does not recur")
    meter = meters.get(recurring.meter or "") if terms.mode == "meters" else None
    return Item(
        meter=terms.slug,
        mode=terms.mode,
        item=row.id,
        price=row.price.id,
        subscription=subscription.id,
        period_anchor_s=subscription.billing_cycle_anchor,
        period=recurring.interval,
        period_count=recurring.interval_count,
        starts_at_s=subscription.start_date,
        ends_at_s=subscription.ends_at_s,
        first_ends_s=subscription.first_ends_s,
        scale=terms.scale,
        fractions=terms.fractions,
        late=terms.late,
        aggregation="" if meter is None else aggregation_of(meter),
        event_name="" if meter is None else meter.event_name,
        stripe_customer=subscription.customer_id,
        clock=subscription.test_clock or "",
    )


def read_item(access: Access, item: str) -> tuple[Row, Subscription]:
    """One subscription item and its whole subscription. Raises TidemarkError (there is none) or Unreachable."""
    row = read(access.get(f"/v1/subscription_items/{item}"), Row)
    return row, whole(access, read(access.get(f"/v1/subscriptions/{row.subscription}"), Subscription))


def bound_item(eras: Eras, item: str, terms: Terms) -> Item:
    """What Stripe knows about a subscription item, as a binding for that meter. Raises TidemarkError with everything that is wrong with it."""
    row, subscription = read_item(eras.of(legacy=terms.mode == "usage_records"), item)
    meters = meters_of(eras.modern) if terms.mode == "meters" else {}
    candidate = Candidate(terms, row, subscription)
    faults = [found for found in item_findings(*candidate, meters) if found.fault and not _is_its_end(found, candidate)]
    if faults:
        raise TidemarkError("; ".join(fault.problem for fault in faults))
    return bound(candidate, meters)
