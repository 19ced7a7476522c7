"""A reconciliation for a person: periods stage by stage, one table a kind with its sentences, coverage, what was not checked."""

from __future__ import annotations

from fractions import Fraction

from infra.cli.output import console, say, table
from infra.reconciling.coverage import STATES, Place
from infra.reconciling.drift import KINDS, STAGES, Drift
from infra.reconciling.found import UNCHECKED, Found
from sinks.stripe.costs import money
from topics.instants import format_s
from topics.quantity import format_scaled

TITLES = {
    "lost_report": "reports that the provider does not hold",
    "double_report": "reports that the provider holds twice",
    "late_after_finality": "usage that came after its invoice was final",
    "raw_event": "raw events that are not what was counted",
    "wrong_period": "usage in another billing period than its own",
    "rounding": "parts of a unit, or of an amount, that were lost",
    "provider_edit": "numbers at the provider that none of our reports explains",
    "missing_window": "windows that were never emitted",
    "old_duplicate": "events counted twice, their copies further apart than `dedup`",
    "conflicting_body": "events with one id and different content",
    "stale_retry": "older revisions at the provider",
}


def show(found: Found, limit: int) -> None:
    """The whole of it; at most `limit` rows of a sort."""
    if found.periods:
        _show_periods(found, limit)
    for kind in KINDS:
        if found.counts[kind]:
            _show_kind([drift for drift in found.drifts if drift.kind == kind], kind, found.counts[kind], limit)
    _show_coverage(found, limit)
    for problem in found.problems:
        say(f"not checked: {problem}")
    say("")
    out = console()
    checked = ", ".join(f"{found.checked[name]} {name}" for name in ("windows", "revisions", "cells", "totals", "lines"))
    if found.is_clean and found.problems:
        out.print(f"[yellow]no drift in what could be checked: {checked}; {len(found.problems)} things could not be (exit code {UNCHECKED})[/yellow]")
        return
    if found.is_clean:
        out.print(f"[green]clean: {checked}, and every number is the same[/green]")
        return
    worth = ", ".join(money(Fraction(amount), currency) for currency, amount in sorted(found.money.items()))
    out.print(f"[red]{sum(found.counts.values())} drifts{f', in money {worth}' if worth else ''}[/red] ({checked})")


def _show_periods(found: Found, limit: int) -> None:
    columns = ("customer", "meter", "period from", "item", "windows", *STAGES)
    rows = [
        [row.customer, row.meter, format_s(row.start_s), row.item, row.windows, *(row.numbers.get(stage, "") for stage in STAGES)]
        for row in found.periods[:limit]
    ]
    table(columns, rows, right=("windows", *STAGES))
    if len(found.periods) > limit:
        say(f"… {len(found.periods) - limit} more periods; --limit shows them")


def _show_kind(drifts: list[Drift], kind: str, count: int, limit: int) -> None:
    say("")
    columns = ("customer", "meter", "window or period", *STAGES, "difference", "money", "repair")
    table(columns, [_row(drift) for drift in drifts[:limit]], title=f"{kind}: {TITLES[kind]}", right=(*STAGES, "difference", "money"))
    for drift in drifts[:limit]:
        console().print(f"  {drift.sentence}. {drift.advice}", markup=False)
    if count > limit:
        say(f"  … {count - min(limit, len(drifts))} more; --limit shows them")


def _row(drift: Drift) -> list[object]:
    at_s = drift.window.start_s if drift.window is not None else drift.period[0] if drift.period is not None else None
    worth = "" if drift.amount is None else money(Fraction(drift.amount), drift.currency)
    stages = [drift.numbers.get(stage, "") for stage in STAGES]
    place = "" if at_s is None else format_s(at_s)
    return [drift.customer, drift.meter, place, *stages, format_scaled(drift.difference_scaled), worth, drift.repair]


def _show_coverage(found: Found, limit: int) -> None:
    coverage = found.coverage
    say("")
    said = ", ".join(f"{coverage.states[state]} {state}" for state in STATES if coverage.states[state])
    say(f"coverage: {sum(coverage.states.values())} windows: {said or 'none'}")
    for name, places, count in (("gap", coverage.gaps, coverage.gap_count), ("straggler", coverage.stragglers, coverage.straggler_count)):
        for place in places[:limit]:
            say(f"  {name}: {_place(place)}")
        if count > limit:
            say(f"  … {count - min(limit, len(places))} more {name}s")


def _place(place: Place) -> str:
    window = place.window
    return f"{window.customer} · {window.meter} · {format_s(window.start_s)} … {format_s(window.end_s)}: {place.why}"
