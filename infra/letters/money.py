"""What letters are worth: units × the price of one, where the price is one amount a unit; else units alone. Never a guess."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sinks.stripe.adjusting import Priced

if TYPE_CHECKING:
    from infra.letters.judging import Share
    from infra.settings import Settings
    from sinks.stripe.objects import Price

MAX_ITEMS: Final = 20
"""Items whose price no binding says: each is a call to the provider. Those of more customers stay units."""


class Worth(NamedTuple):
    """Money by currency in its smallest unit, units by meter that have no price of one unit, and how many letters nothing is known of."""

    money: dict[str, Fraction]
    units: dict[str, Fraction]
    unknown: int


def priced(share: Share) -> Priced | None:
    """Whose price says what the share costs; None where nobody bills it."""
    return None if share.item is None else (share.item.item, share.item.price)


def prices(settings: Settings, shares: Iterable[Share]) -> tuple[dict[Priced, Price], str]:
    """The prices that can be read cheaply, and why others cannot."""
    from infra.adjusting import prices_of

    asked = sorted({one for share in shares if (one := priced(share)) is not None})
    unsaid = [one for one in asked if not one[1]]
    return prices_of(settings, [one for one in asked if one[1]] + unsaid[:MAX_ITEMS])


def amount(share: Share, known: Mapping[Priced, Price]) -> tuple[str, Fraction] | None:
    """(currency, smallest units, not rounded) of a share; None where one unit has no price of its own (tiers, packages, not readable)."""
    from sinks.stripe.costs import cost

    one = priced(share)
    price = None if one is None else known.get(one)
    if price is None or price.billing_scheme != "per_unit" or price.transform_quantity is not None:
        return None
    found = cost(price, share.units)
    return None if found is None else (price.currency, found)


def worth(letters: Iterable[tuple[Share, ...]], known: Mapping[Priced, Price]) -> Worth:
    """The sum over letters, each given by its shares (none: nothing is known of it)."""
    money: dict[str, Fraction] = defaultdict(Fraction)
    units: dict[str, Fraction] = defaultdict(Fraction)
    unknown = 0
    for shares in letters:
        unknown += not shares
        for share in shares:
            found = amount(share, known)
            if found is None:
                units[share.window.meter] += share.units
            else:
                money[found[0]] += found[1]
    return Worth(dict(money), dict(units), unknown)


def worth_text(found: Worth) -> str:
    """For a person: `12.34 usd, 7 of tokens, 3 unknown`."""
    from sinks.stripe.costs import money

    parts = [money(sum_, currency) for currency, sum_ in sorted(found.money.items())]
    parts += [f"{decimal(sum_)} of {meter}" for meter, sum_ in sorted(found.units.items())]
    parts += [f"{found.unknown} unknown"] if found.unknown else []
    return ", ".join(parts) or "-"


def worth_json(found: Worth) -> dict[str, Any]:
    """For programs: decimal strings."""
    from sinks.stripe.costs import places

    money = {currency: decimal(sum_ / 10 ** places(currency)) for currency, sum_ in sorted(found.money.items())}
    return {"money": money, "units": {meter: decimal(sum_) for meter, sum_ in sorted(found.units.items())}, "unknown": found.unknown}


def decimal(value: Fraction) -> str:
    """An exact decimal; every value here has at most 24 places (twelve of a quantity, twelve of a scale) and those of a price."""
    for shown in range(60):
        scaled = value * 10**shown
        if scaled.denominator == 1:
            whole, rest = divmod(abs(int(scaled)), 10**shown)
            return ("-" if value < 0 else "") + (f"{whole}.{rest:0{shown}}" if shown else f"{whole}")
    return str(value)
