"""What a demo prints: events by verdict, kills survived, the table that compares four counts, and what to try next."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from infra.cli.output import console, say, table
from infra.demo.compare import Line, shown
from infra.demo.months import as_json as months_json
from infra.demo.months import rows
from infra.explaining.as_json import line_json
from infra.explaining.words import money

if TYPE_CHECKING:
    from infra.demo.kills import Kill
    from infra.demo.month import Billed
    from infra.demo.usage import Expected
    from infra.explaining.line import Explained

ROWS_SHOWN = 24
QUERY = "SELECT verdict, count() FROM usage_events GROUP BY verdict"


class Outcome(NamedTuple):
    """Everything that a demo found out."""

    directory: Path
    status: dict[str, Any]
    still_open: list[str]
    expected: Expected
    not_counted: dict[str, int]
    kills: list[Kill]
    sent_again: int
    windows: int
    lines: list[Line]
    months: list[Billed]
    explained: Explained | None
    took_s: float

    @property
    def drift(self) -> int:
        """The sum of all drifts, × 10¹²."""
        return sum(line.drift for line in self.lines)

    @property
    def faults(self) -> list[str]:
        """Why the demo failed; nothing where every number agrees."""
        found = [f"not settled: {point}" for point in self.still_open]
        found += [f"{line.customer}, {line.meter}: drift {shown(line.drift)}" for line in self.lines if line.drift]
        found += [fault for each in self.months for fault in each.faults]
        found += [] if self.explained is None else [f"invoice line {self.explained.line.id}: {fault}" for fault in self.explained.faults]
        found += [f"partition {line['partition']}: residual {line['residual']}" for line in self.status["partitions"] if line["residual"]]
        for kind in ("meter-0", "report", "archive", "kafka"):
            if not any(kill.name == kind for kill in self.kills):
                found.append(f"{kind} was not killed")
        return found


def show(outcome: Outcome) -> None:
    """The summary for people."""
    _show_events(outcome)
    _show_kills(outcome)
    _show_lines(outcome.lines)
    _show_months(outcome.months)
    out = console()
    if outcome.faults:
        out.print("[red]the numbers do not agree[/red]")
        for fault in outcome.faults:
            say(f"  {fault}")
    else:
        out.print("[green]drift 0: what was sent, counted, delivered and archived is the same number, for every customer[/green]")
    say("")


def _show_events(outcome: Outcome) -> None:
    partitions = outcome.status["partitions"]
    sums = {name: sum(line[name] for line in partitions) for name in ("counted", "duplicate", "rejected", "too_late", "rerouted")}
    say("")
    say("Events in, by verdict")
    reasons = ", ".join(f"{count} {name.partition('(')[2].rstrip(')')}" for name, count in outcome.not_counted.items() if name.startswith("rejected"))
    notes = {
        "counted": f"in {outcome.windows:,} windows" + (f"; {outcome.expected.kinds['late']} came late" if outcome.expected.kinds["late"] else ""),
        "duplicate": f"{outcome.expected.kinds['duplicate']:,} sent twice on purpose"
        + (f", the rest sent again after a kill ({outcome.sent_again} times)" if outcome.sent_again else ""),
        "rejected": f"kept with their exact bytes: {reasons}" if reasons else "",
        "rerouted": "landed on a wrong partition and were sent home" if sums["rerouted"] else "",
    }
    table(("verdict", "events", ""), [[name, f"{count:,}", notes.get(name, "")] for name, count in sums.items()], right=("events",))
    say("")


def _show_kills(outcome: Outcome) -> None:
    say("Killed with SIGKILL while events flowed, and back")
    rows = [[kill.name, kill.pid, kill.new_pid, f"{kill.away_s:.1f} s"] for kill in outcome.kills]
    table(("process", "pid", "new pid", "running again after"), rows, right=("pid", "new pid", "running again after"))
    say("")


def _show_lines(lines: Sequence[Line]) -> None:
    say("The same usage, counted four times by different means")
    most = sorted(lines, key=lambda line: (not line.drift, -line.events))[:ROWS_SHOWN]
    columns = ("customer", "meter", "events", "sent", "total", "delivered to Stripe", "raw in ClickHouse", "drift")
    rows = [
        [line.customer, line.meter, f"{line.events:,}", *map(shown, (line.sent, line.counted, line.stripe, line.raw, line.drift))]
        for line in sorted(most, key=lambda line: (-line.events, line.customer))
    ]
    if len(lines) > len(most):
        rest = [line for line in lines if line not in most]
        sums = (sum(line.sent for line in rest), sum(line.counted for line in rest), sum(line.stripe for line in rest))
        last = (sum(line.raw for line in rest), sum(line.drift for line in rest))
        rows.append([f"… {len(rest)} more", "", f"{sum(line.events for line in rest):,}", *map(shown, (*sums, *last))])
    table(columns, rows, right=columns[2:])
    say("")


def _show_months(months: Sequence[Billed]) -> None:
    """Each invoice line beside what was used."""
    if not months:
        return
    say("Meanwhile a month passed for these, each on a test clock of its own; Stripe's webhooks said who they are and what time it is")
    columns = ("customer", "meter", "period", "events", "used", "on the invoice", "money", "invoice")
    shown_rows = []
    for customer, meter, period, events, used, line in rows(months):
        billed = ("none", "", "") if line is None else (f"{line.units:,}", money(line.amount, line.currency), line.status)
        shown_rows.append([customer, meter, period, f"{events:,}", f"{used:,}", *billed])
    table(columns, shown_rows, right=columns[3:7])
    say("")


def command() -> str:
    """How the command is typed here: by its name where it is on the path, else as this environment's script."""
    if shutil.which("tidemark"):
        return "tidemark"
    return _near(Path(sys.executable).parent / "tidemark")


def _near(path: Path) -> str:
    """A path as one would type it: relative where that is inside the current directory."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def show_next(outcome: Outcome, *, kept: bool) -> None:
    """What a curious reader does next."""
    typed, directory = command(), _near(outcome.directory)
    busiest = max(outcome.lines, key=lambda line: line.events, default=None)
    customer, meter = (busiest.customer, busiest.meter) if busiest is not None else ("CUSTOMER", "METER")
    say("Try next" + ("" if kept else " (the data is kept; `up` goes on where it was)"))
    verbs = [] if kept else ["up --detach"]
    verbs += [f"usage '{customer}'", f"windows --customer '{customer}' --meter {meter}", "dead-letters list", f'sql "{QUERY}"']
    for verb in verbs:
        say(f"  {typed} {verb} --dir {directory}")
    say("  make demo LOG=access.log      your own web server's log")
    say(f"  {typed} init      your own meters; README.md shows how to reach your own servers")


def as_json(outcome: Outcome) -> dict[str, Any]:
    """For `--json`: quantities as decimal strings."""
    from topics.quantity import format_scaled

    names = ("sent", "counted", "stripe", "raw", "drift")
    return {
        "directory": str(outcome.directory),
        "drift": format_scaled(outcome.drift),
        "faults": outcome.faults,
        "kills": [kill._asdict() for kill in outcome.kills],
        "windows": outcome.windows,
        "not_counted": outcome.not_counted,
        "months": months_json(outcome.months),
        "explained": None if outcome.explained is None else line_json(outcome.explained),
        "status": outcome.status,
        "customers": [
            {"customer": line.customer, "meter": line.meter, "events": line.events} | {name: format_scaled(getattr(line, name)) for name in names}
            for line in outcome.lines
        ],
        "took_s": round(outcome.took_s, 1),
    }
