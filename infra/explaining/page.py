"""`--html FILE`: what was explained as one page to hand over: no scripts, nothing fetched, any width, print, light and dark. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING

from infra.explaining import page_events, page_money, page_windows
from infra.explaining.markup import Child, Markup, code, lines, tag
from infra.explaining.page_proof import proof
from infra.explaining.words import clock, money, number, number_text, quantity, stretch

if TYPE_CHECKING:
    from infra.explaining.evidence import Written
    from infra.explaining.line import Explained
    from infra.explaining.period import MeterPeriod, Period
    from sinks.clickhouse.explain import Explanation
    from sinks.clickhouse.span_windows import Span


@dataclass
class Page:
    """What stands on it: windows, invoice lines, or a customer's period."""

    windows: list[Explanation] = field(default_factory=list)
    lines: list[Explained] = field(default_factory=list)
    period: Period | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing was found."""
        return not (self.windows or self.lines or self.period)


def page(found: Page, made_at_ms: int, evidence: Written | None = None) -> str:
    """The whole document."""
    articles = [window_article(each) for each in found.windows] + [line_article(each) for each in found.lines]
    if found.period is not None:
        articles += [meter_article(found.period.customer, each) for each in found.period.meters]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", _title(found)),
        tag("style", Markup((resources.files("infra.explaining") / "page.css").read_text(encoding="utf-8"))),
    )
    footer = tag("footer", f"Made by Tidemark at {clock(made_at_ms)} UTC. All times are UTC.")
    body = tag("body", tag("main", articles, _check(evidence) if articles else None), footer)
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _title(found: Page) -> str:
    if found.lines:
        line = found.lines[0].line
        return f"{money(line.amount, line.currency)}: invoice line {line.id}, explained"
    if found.windows:
        window = found.windows[0]
        return f"{window.customer}, {window.meter}, {stretch(window.start_s, window.end_s)}, explained"
    period = found.period
    return "Nothing was found" if period is None else f"{period.customer}, {stretch(period.from_s, period.to_s)}, explained"


def line_article(found: Explained) -> Markup:
    """An invoice line."""
    line, windows = found.line, found.windows
    named = f"{line.number} ({line.invoice})" if line.number else line.invoice
    facts: dict[str, Child] = {
        "Customer": code(windows.customer),
        "Meter": code(windows.meter),
        "Service period": f"{stretch(line.start_s, line.end_s)} (end not included)",
        "Invoice": [code(named), f", {line.status}"],
        "Line": [code(line.id), f", with {len(line.parts) - 1} more for the other tiers of its price" if len(line.parts) > 1 else ""],
        "Subscription item": code(line.item),
        "Price": code(line.price),
    }
    numbers = {"units on the line": number(line.units), "units that Stripe holds": quantity(windows.units_scaled)}
    carried = [
        tag("p", f"{units:,} units on the line were used in an earlier period: adjustment ", code(name), f", reported at {clock(second * 1000)}.")
        for units, name, second in found.carried
    ]
    heading = [tag("span", "Why this invoice line is "), tag("span", money(line.amount, line.currency), class_="amount")]
    return tag(
        "article",
        _head(heading, facts, found.faults, windows.span.notes, "the line follows from the raw events, window by window"),
        tag(
            "div",
            _numbers(numbers | _of_span(windows.span, len(windows.windows), windows.events)),
            carried,
            page_money.section(found.money),
            page_events.section(windows.span),
            page_windows.by_day(windows),
            page_windows.line_windows(windows),
            page_windows.waiting(windows.open, "Not on the line", "Stripe does not hold them as they are counted now"),
            page_windows.revisions([*windows.earlier, *windows.span.windows]),
            page_windows.deliveries([*windows.earlier, *windows.span.windows]),
            proof(windows.span, [*windows.earlier, *windows.span.windows]),
        ),
    )


def meter_article(customer: str, found: MeterPeriod) -> Markup:
    """One meter of a customer's period."""
    windows, span = found.windows, found.windows.span
    facts: dict[str, Child] = {"Customer": code(customer), "Meter": code(windows.meter)}
    facts["Time"] = f"{stretch(windows.start_s, windows.end_s)} (end not included)"
    if windows.item:
        facts["Subscription item"] = code(windows.item)
    if found.line is not None:
        facts["Invoice"] = [code(found.line.number or found.line.invoice), f", {found.line.status}, line ", code(found.line.id)]
    total, held = quantity(span.scaled), quantity(windows.units_scaled)
    if found.line is not None:
        heading: list[Child] = [f"{windows.meter}: what {customer} used, and why it is "]
        heading.append(tag("span", money(found.line.amount, found.line.currency), class_="amount"))
    else:
        heading = [f"What {customer} used of {windows.meter} ", tag("span", total, class_="amount")]
    named = () if found.money is None else found.money.named
    notes = [note for note in found.notes if note not in named]
    return tag(
        "article",
        _head(heading, facts, found.faults, notes, "every total and hash follows from the raw events"),
        tag(
            "div",
            _numbers({"total": total, "units that Stripe holds": held} | _of_span(span, len(span.windows), span.events)),
            page_money.section(found.money),
            page_events.section(span),
            page_windows.by_day(windows),
            page_windows.span_windows(span.windows),
            page_windows.waiting(windows.open, "Not delivered as counted", "Stripe does not hold them as they are counted now"),
            page_windows.revisions(span.windows),
            page_windows.deliveries(span.windows),
            proof(span, span.windows),
        ),
    )


def window_article(found: Explanation) -> Markup:
    """One window, event by event."""
    facts: dict[str, Child] = {
        "Customer": code(found.customer),
        "Meter": code(found.meter),
        "Window": f"{stretch(found.start_s, found.end_s)} (end not included)",
        "State": f"{found.window.state} {found.window.reason}".strip(),
    }
    heading: list[Child] = ["Why this window counts ", tag("span", number_text(found.quantity), class_="amount")]
    counts = {"events": found.now_events, "duplicates, not counted again": len(found.duplicates), "late": len(found.late)}
    counts |= {"not taken": found.span.refused_count, "amendments": len(found.amendments), "revisions": len(found.revisions)}
    return tag(
        "article",
        _head(heading, facts, found.faults, found.notes, "every total and hash follows from the raw events"),
        tag(
            "div",
            _numbers({name: number(count) for name, count in counts.items() if count}),
            page_windows.revisions([found.window], all_of_them=True),
            page_windows.deliveries([found.window], all_of_them=True),
            page_events.beside(found.span),
            page_events.events(found),
            proof(found.span, [found.window]),
        ),
    )


def _head(heading: Child, facts: dict[str, Child], faults: list[str] | tuple[str, ...], notes: list[str] | tuple[str, ...], proved: str) -> Markup:
    listed = tag("dl", [[tag("dt", name), tag("dd", value)] for name, value in facts.items()], class_="facts")
    if faults:
        said = tag("strong", f"Not proved: {len(faults)} contradiction{'s' if len(faults) != 1 else ''}")
        verdict = tag("div", said, tag("ul", [tag("li", fault) for fault in faults[:SHOWN]], _more(len(faults))), class_="verdict bad", role="status")
    else:
        verdict = tag("div", tag("strong", f"Proved: {proved}."), " Recounted and hashed again for this page.", class_="verdict good", role="status")
    under_way = tag("div", tag("ul", [tag("li", note) for note in notes]), class_="verdict note") if notes else None
    return tag("header", tag("h1", heading), verdict, under_way, listed)


SHOWN = 20
"""Contradictions that are listed at the top; each window says its own below."""


def _more(count: int) -> Markup | None:
    return tag("li", f"and {count - SHOWN} more") if count > SHOWN else None


def _of_span(span: Span, windows: int, events: int) -> dict[str, Child]:
    out_of_the_ordinary = {
        "late events": span.late_count,
        "duplicates, not counted again": span.duplicate_count,
        "not taken": span.refused_count,
        "amendments": len(span.amendments),
    }
    return {"windows": number(windows), "events": number(events), **{name: number(count) for name, count in out_of_the_ordinary.items() if count}}


def _numbers(values: dict[str, Child]) -> Markup:
    return tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in values.items()], class_="numbers")


def _check(evidence: Written | None) -> Markup:
    """How to do all of it again without us."""
    if evidence is None:
        said: Child = [
            "The events themselves are not in this file. ", code("--evidence FILE"), " writes them, each with its own bytes, chained by hash.",
        ]  # fmt: skip
    else:
        said = [
            f"With this page comes a file of {evidence.events:,} events, each with its own bytes: ", code(evidence.file.rpartition("/")[2]),
            ". Its chain ends in SHA-256 ", code(evidence.sha256), ".",
        ]  # fmt: skip
    recipe = (resources.files("infra.explaining") / "recompute.txt").read_text(encoding="utf-8")
    return tag(
        "section",
        tag("h2", "Recompute it without us"),
        tag("p", said),
        tag(
            "p",
            "The program below is all that is needed, besides Python: it reads the file, takes id, source and quantity from the bytes that were "
            "sent, adds them up window by window and revision by revision, hashes them, and compares with what was claimed.",
        ),
        lines(recipe),
    )
