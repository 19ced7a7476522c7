"""`tidemark stripe compare`: both meters of a migration, customer by customer, as Stripe holds them."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple, cast

from infra.clock import now_ms
from infra.settings_stripe import has_live_key, terms_of
from infra.stripe_catalog import access
from topics.errors import TidemarkError, UsageError

if TYPE_CHECKING:
    from infra.settings import Settings
    from sinks.stripe.comparing import Compared, Reading


class Result(NamedTuple):
    """The comparisons, and what could not be compared or bound."""

    rows: list[Compared]
    problems: list[str]

    @property
    def equal(self) -> bool:
        """Whether every customer that is bound to both holds the same in both, and nobody was left out."""
        return not self.problems and all(not row.difference for row in self.rows)


def compare_meters(settings: Settings, first: str, second: str, customer: str | None = None, at_s: int | None = None) -> Result:
    """Both totals of every customer (or of one) for the period that holds `at_s` (None: now, by the customer's own clock).

    Raises UsageError for a meter that the configuration does not have, TidemarkError where nobody is bound to both.
    """
    from sinks.stripe.binding import sync
    from sinks.stripe.comparing import compare

    known = {terms.slug: terms for terms in terms_of(settings)}
    for name in (first, second):
        if name not in known:
            raise UsageError(f"there is no meter {name!r}; the meters are: {', '.join(sorted(known)) or 'none'}")
    names = {one.stripe_customer: one.id for one in settings.customers if one.stripe_customer}
    clocks = not has_live_key(settings.stripe)
    with access(settings) as eras:
        found = sync(eras, [known[first], known[second]], names, clocks=clocks)
        items = {name: bound for name, bound in found.items.items() if customer in {None, name}}
        reading = cast("Reading", eras.old)  # both connections are StripeAccess, which reads totals too

        def now_of(clock: str) -> int:
            if at_s is not None:
                return at_s
            return int(eras.modern.get(f"/v1/test_helpers/test_clocks/{clock}")["frozen_time"]) if clock else now_ms() // 1000

        rows, problems = compare(reading, items, (first, second), now_of)
    if not rows and not problems:
        whose = "nobody is" if customer is None else f"customer {customer!r} is not"
        raise TidemarkError("; ".join([f"{whose} bound to both {first} and {second}", *found.problems]))
    return Result(rows, problems + found.problems)


def plain(value: Fraction) -> str:
    """A quantity as an exact decimal, or as a fraction where it has none (a scale of thirds)."""
    for places in range(25):
        if (value * 10**places).denominator == 1:
            scaled = int(value * 10**places)
            whole, rest = divmod(abs(scaled), 10**places)
            return ("-" if scaled < 0 else "") + (f"{whole}.{rest:0{places}}" if places else f"{whole}")
    return str(value)
