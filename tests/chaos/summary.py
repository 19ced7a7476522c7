"""What a run did and found, as a table for a person and as JSON for a record."""

from __future__ import annotations

import time
from typing import Any

from tests.chaos.run import Run, duration


def document(run: Run, outcome: str) -> dict[str, Any]:
    """Everything that is worth keeping of a run; `outcome` is `exact`, or the sentence of the difference."""
    tally, account = run.doing.tally, run.account
    acked = [] if run.producers is None else run.producers.acked
    return {
        "seed": run.seed,
        "brokers": run.brokers,
        "outcome": outcome,
        "duration_s": round(time.monotonic() - run.began_s),
        "kills": tally.kills,
        "sigkill": dict(sorted(tally.killed.items())),
        "sigterm": dict(sorted(tally.terminated.items())),
        "frozen": dict(sorted(tally.frozen.items())),
        "disk_full": dict(sorted(tally.filled.items())),
        "connections_troubled": tally.connections,
        "faults": dict(tally.faults.most_common()),
        "acknowledged": len(acked),
        "sent_again": 0 if run.producers is None else run.producers.resent,
        "records": account.records,
        "verdicts": dict(sorted(account.verdicts.items())),
        "skipped": account.skipped,
        "windows": account.windows,
        "revisions": account.revisions,
        "states": account.states,
        "closed_by_time_alone": account.by_themselves,
        "provider_calls": account.provider_calls,
        "comparisons": account.comparisons,
        "audit": "clean" if account.is_audited else "not run",
        "settled_s": account.settled_s,
        "lost": 0 if outcome == "exact" else None,
        "doubled": 0 if outcome == "exact" else None,
        "residual": 0 if outcome == "exact" else None,
    }


def table(found: dict[str, Any]) -> str:
    """The same for a person: name and value a line."""
    brokers = "one broker" if found["brokers"] == 1 else f"{found['brokers']} brokers"
    verdicts = ", ".join(f"{count} {name}" for name, count in found["verdicts"].items())
    states = ", ".join(f"{count} {name}" for name, count in found["states"].items() if count)
    unknown = "?"
    lines = [
        ("run", f"seed {found['seed']}, {brokers}, {duration(found['duration_s'])}"),
        ("kills", f"{found['kills']}: {sum(found['sigkill'].values())} SIGKILL, {sum(found['sigterm'].values())} SIGTERM"),
        ("SIGKILL", _counts(found["sigkill"])),
        ("SIGTERM", _counts(found["sigterm"])),
        ("frozen", _counts(found["frozen"])),
        ("disk full", _counts(found["disk_full"])),
        ("faults", f"{sum(found['faults'].values())}: {_counts(found['faults'])}"),
        ("connections", f"{found['connections_troubled']} cut, slowed or held, and every one of a process that died"),
        ("acknowledged", f"{found['acknowledged']} records; {found['sent_again']} times a record was sent again"),
        ("log", f"{found['records']} records, {found['skipped']} offsets without one: {verdicts}"),
        ("windows", f"{found['windows']} ({states}) in {found['revisions']} revisions"),
        ("by time alone", f"{found['closed_by_time_alone']} windows closed and delivered after the last fault"),
        ("comparisons", f"{found['comparisons']}; settled within {max(found['settled_s'], default=0):.0f} s each time, nobody helped"),
        ("audit", f"tidemark audit: {found['audit']}"),
        ("lost", str(unknown if found["lost"] is None else found["lost"])),
        ("doubled", str(unknown if found["doubled"] is None else found["doubled"])),
        ("residual", str(unknown if found["residual"] is None else found["residual"])),
    ]
    return "\n".join(f"{name:<14} {value}" for name, value in lines)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
