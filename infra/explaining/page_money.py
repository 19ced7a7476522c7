"""How units become money, on the page. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.explaining.markup import Child, Markup, table, tag
from infra.explaining.show import step_name
from infra.explaining.words import exact_money, money, number

if TYPE_CHECKING:
    from sinks.stripe.line_money import LineMoney
    from sinks.stripe.working import Step, Working


def section(found: LineMoney | None) -> Markup | None:
    """Each step with its rounding, the amount beside Stripe's, and what is Stripe's alone."""
    if found is None:
        return None
    working = found.working
    parts: list[Child] = [tag("h2", "How units become money")]
    if working is not None:
        parts += [_steps(working), tag("p", _rounding(working)), _verdict(found, working)]
    elif found.billed is not None and not found.named:
        parts.append(tag("p", "Stripe's amount was not recomputed."))
    if found.named:
        parts.append(tag("div", tag("strong", "Not recomputed"), tag("ul", [tag("li", name) for name in found.named]), class_="verdict note"))
    return tag("section", parts)


def _steps(working: Working) -> Markup:
    has_flat = any(step.flat for step in working.steps)
    has_rounded = working.is_by_step or len(working.steps) == 1
    paid = "packages" if working.scheme == "packages" else "units"
    columns = [("priced by", False), (paid, True), ("price of one", True)]
    columns += [("flat amount", True)] if has_flat else []
    columns += [("exactly", True)]
    columns += [("rounded", True)] if has_rounded else []
    rows = [_row(working, step, has_flat=has_flat, has_rounded=has_rounded) for step in working.steps]
    foot: list[Child] = ["together", number(working.priced), "", *([""] if has_flat else []), exact_money(working.exact, working.currency)]
    foot += [money(working.amount, working.currency)] if has_rounded else []
    caption = f"{number(working.units)} units at price {working.price}"
    return table(caption, columns, rows, foot=foot if len(working.steps) > 1 else ())


def _row(working: Working, step: Step, *, has_flat: bool, has_rounded: bool) -> list[Child]:
    currency = working.currency
    cells: list[Child] = [step_name(working, step), number(step.units), exact_money(step.unit, currency)]
    cells += [exact_money(step.flat, currency) if step.flat else ""] if has_flat else []
    return [*cells, exact_money(step.exact, currency), *([money(step.amount, currency)] if has_rounded else [])]


def _rounding(working: Working) -> str:
    said = []
    if working.scheme == "packages":
        whole = f"{number(working.units)} units make {number(working.priced)} packages of {working.divide_by:,}"
        said.append(f"{whole}: a begun one is {'paid whole' if working.round == 'up' else 'not paid'}.")
    if working.scheme == "volume":
        said.append("All units are priced by the one tier that the total reaches.")
    each = "Each tier is a line of its own, rounded" if working.is_by_step and len(working.steps) > 1 else "The exact amount is rounded once,"
    said.append(f"{each} to the currency's smallest unit, halves away from zero.")
    return " ".join(said)


def _verdict(found: LineMoney, working: Working) -> Markup | None:
    ours = money(working.amount, working.currency)
    if found.billed is None:
        return tag("p", tag("strong", f"{number(working.units)} units come to {ours}."))
    theirs = money(found.billed, working.currency)
    if found.verdict == "equal":
        return tag("p", tag("strong", f"{ours}: the same as on the invoice."))
    if found.verdict == "differs":
        return tag("p", tag("strong", f"The units come to {ours}; the invoice says {theirs}.", class_="bad"))
    return tag("p", f"At its price the units would come to {ours}; the invoice says {theirs}.")
