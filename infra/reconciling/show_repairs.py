"""Repairs for a person: what is wrong, what would be done or was, what it comes to, and what is left to do by hand."""

from __future__ import annotations

from fractions import Fraction

from infra.cli.output import console, say, table
from infra.reconciling.repairing import Repaired
from infra.reconciling.repairs import summary
from infra.reconciling.steps import Proposal
from sinks.stripe.costs import money
from topics.instants import format_s
from topics.quantity import format_scaled


def show_repairs(repaired: Repaired, limit: int) -> None:
    """All of it; at most `limit` rows."""
    for problem in repaired.problems:
        say(f"not checked: {problem}")
    if repaired.is_clean:
        say(f"nothing to repair{' in what could be checked' if repaired.problems else ''}")
        return
    columns = ("kind", "customer", "meter", "window or period", "units", "money", "repair")
    table(columns, [_row(each) for each in repaired.proposals[:limit]], right=("units", "money"))
    if len(repaired.proposals) > limit:
        say(f"… {len(repaired.proposals) - limit} more; --limit shows them")
    for sentence in dict.fromkeys(f"by hand: {each.by_hand}" for each in repaired.proposals if each.by_hand):
        console().print(f"  {sentence}", markup=False)
    for done in repaired.done:
        if not done.is_done:
            console().print(f"  not done: {done.sentence}", markup=False)
    worth = ", ".join(money(Fraction(amount), currency) for currency, amount in sorted(summary(repaired.proposals).items()))
    steps = sum(len(each.steps) for each in repaired.proposals)
    if not repaired.is_applied:
        say(f"a dry run: {steps} steps{f', in money {worth}' if worth else ''}; --apply --reason TEXT carries them out")
        return
    count = sum(done.is_done for done in repaired.done)
    say(f"{count} of {len(repaired.done)} steps done{f', in money {worth}' if worth else ''}; after `tidemark settle`, reconcile again")


def _row(each: Proposal) -> list[object]:
    drift = each.drift
    at_s = drift.window.start_s if drift.window is not None else drift.period[0] if drift.period is not None else None
    worth = "" if each.amount is None or not drift.currency else money(Fraction(each.amount), drift.currency)
    return [drift.kind, drift.customer, drift.meter, "" if at_s is None else format_s(at_s), format_scaled(each.units), worth, each.sentence]
