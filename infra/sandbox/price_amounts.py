"""The amounts of a price: one for a unit, or tiers; given as whole minor units or as a decimal, shown as both. Pure.

Source: https://docs.stripe.com/api/prices/create
"""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

from infra.sandbox import errors

Json = dict[str, Any]


def single(params: Json) -> tuple[int | None, str]:
    """`unit_amount` and `unit_amount_decimal` of a price per unit; the integer is null where the minor unit has a fraction."""
    for name in ("tiers", "tiers_mode"):
        if name in params:
            message = f"`{name}` can only be set for prices with `billing_scheme=tiered`."
            raise errors.refused(message, rule="prices.tiers", param=name)
    if ("unit_amount" in params) == ("unit_amount_decimal" in params):
        message = "You must specify exactly one of `unit_amount` and `unit_amount_decimal`."
        raise errors.refused(message, rule="prices.amount", param="unit_amount")
    whole, text = _both(params, "unit_amount")
    return whole, text or "0"


def _both(params: Json, name: str) -> tuple[int | None, str | None]:
    """An amount as an integer, where it is whole, and as its digits; (None, None) where it is not given."""
    if name in params:
        return params[name], str(params[name])
    text = params.get(f"{name}_decimal")
    if text is None:
        return None, None
    whole, _, places = text.partition(".")
    places = places.rstrip("0")
    exact = (whole.lstrip("0") or "0") + (f".{places}" if places else "")
    return (None if places else int(Decimal(exact))), exact


def tiers(params: Json) -> list[Json]:
    """The tiers of a tiered price, each with both forms of both amounts; `up_to` null is the last one's."""
    given = params.get("tiers")
    if not given or "tiers_mode" not in params:
        raise errors.missing("tiers_mode" if given else "tiers")
    for name in ("unit_amount", "unit_amount_decimal", "transform_quantity"):
        if name in params:
            raise errors.refused(f"`{name}` cannot be combined with `billing_scheme=tiered`.", rule="prices.tiers", param=name)
    ends = [each["up_to"] for each in given]
    if ends[-1] is not None or None in ends[:-1] or any(low >= high for low, high in pairwise(ends[:-1])):
        message = "The tiers must be in ascending order of `up_to`, and the last one must be `inf`."
        raise errors.refused(message, rule="prices.tiers", param="tiers")
    return [_tier(each, n) for n, each in enumerate(given)]


def _tier(given: Json, n: int) -> Json:
    for name in ("unit_amount", "flat_amount"):
        if name in given and f"{name}_decimal" in given:
            raise errors.refused(f"Only one of `{name}` and `{name}_decimal` can be set.", rule="prices.tiers", param=f"tiers[{n}][{name}]")
    unit, unit_decimal = _both(given, "unit_amount")
    flat, flat_decimal = _both(given, "flat_amount")
    if unit_decimal is None and flat_decimal is None:
        raise errors.refused("A tier needs a unit amount or a flat amount.", rule="prices.tiers", param=f"tiers[{n}]")
    return {
        "flat_amount": flat,
        "flat_amount_decimal": flat_decimal,
        "unit_amount": unit,
        "unit_amount_decimal": unit_decimal,
        "up_to": given["up_to"],
    }
