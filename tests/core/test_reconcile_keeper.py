"""The scheduled reconciliation's memory: what it shows of its last run, which drifts are alarms, and when it is not ready."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from infra.reconciling.archive import EARLIEST_S
from infra.reconciling.drift import KINDS
from infra.reconciling.find import find
from infra.reconciling.found import Found
from infra.reconciling.keeper import METRIC_NAMES, Keeper
from infra.reconciling.looking_back import LookingBack
from infra.reconciling.repairing import Repaired
from tests.core.reconcile_books import P, books, cell, summary

HOUR_MS = 3_600_000
DAY_S = 86_400


class Clock:
    """A steady clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now_s


def _found(*held: int) -> Found:
    """A run over one period for each number that the provider holds instead of 71."""
    found = Found()
    for units in held:
        said = books(cells=(cell(1, 30), cell(2, 41)), summaries=(summary(units),))
        found.coverage.add(said)
        for drift in find(said):
            found.take(drift)
    return found


def _metrics(keeper: Keeper) -> dict[tuple[str, str], float]:
    families = text_string_to_metric_families(keeper.exposition().decode())
    return {(sample.name, next(iter(sample.labels.values()), "")): sample.value for family in families for sample in family.samples}


def test_metrics_of_a_run() -> None:
    """After a run every kind has its number, money its sum without signs, each state its windows, and the last run its age."""
    clock = Clock()
    keeper = Keeper(HOUR_MS, clock)
    keeper.took(_found(30, 112), 2.5)
    clock.now_s += 60
    said = _metrics(keeper)
    assert {kind for name, kind in said if name == "tidemark_drift"} == set(KINDS)
    assert (said["tidemark_drift", "lost_report"], said["tidemark_drift", "double_report"], said["tidemark_drift", "rounding"]) == (1, 1, 0)
    assert said["tidemark_drift_money", "usd"] == 164
    assert (said["tidemark_coverage_windows", "delivered"], said["tidemark_coverage_gaps", ""]) == (4, 0)
    assert (said["tidemark_reconcile_last_seconds", ""], said["tidemark_reconcile_duration_seconds", ""]) == (60, 2.5)
    assert said["tidemark_reconcile_runs_total", "drift"] == 1
    assert {name for name, _ in said} == set(METRIC_NAMES)


def test_a_run_that_could_not_look_at_everything() -> None:
    """No drift where a customer could not be asked is neither clean nor a drift: exit code, JSON, result and metrics say so; a drift goes first."""
    keeper = Keeper(HOUR_MS, Clock())
    partly, drifting = _found(71), _found(30)
    assert (partly.exit_code, partly.document()["complete"]) == (0, True)
    partly.problems = drifting.problems = ["customer 'acme': Stripe answered 500"]
    assert (partly.exit_code, partly.document()["clean"], partly.document()["complete"]) == (4, True, False)
    assert (drifting.exit_code, drifting.document()["complete"]) == (1, False)
    keeper.took(partly, 1.0)
    said = _metrics(keeper)
    results = {result: said["tidemark_reconcile_runs_total", result] for result in ("clean", "drift", "unchecked", "failed")}
    assert (results, said["tidemark_reconcile_unchecked", ""]) == ({"clean": 0, "drift": 0, "unchecked": 1, "failed": 0}, 1)
    assert any("500" in alarm for alarm in asyncio.run(keeper.status())["alarms"])
    repaired = Repaired(problems=partly.problems)
    assert (repaired.exit_code, repaired.document()["complete"], Repaired().exit_code) == (4, False, 0)


def test_nothing_is_too_old_for_the_schedule() -> None:
    """The first run and one every `whole` look at everything; the runs between look as far as `back`, and always to the oldest drift that is left."""
    clock = Clock()
    keeper = Keeper(HOUR_MS, clock, back=LookingBack(back_s=10 * DAY_S, whole_s=DAY_S))
    now_s = P + 900 * DAY_S

    def run(found: Found) -> int:
        from_s = keeper.back.from_s(now_s, clock.now_s)
        clock.now_s += 60
        keeper.took(found, 60.0, from_s)
        clock.now_s += 3540
        return from_s

    assert run(_found(71)) == EARLIEST_S
    assert [run(_found(71)) for _ in range(23)] == [now_s - 10 * DAY_S] * 23
    assert run(_found(30)) == EARLIEST_S
    assert [run(_found(30)), run(_found(30)), run(_found(71)), run(_found(71))] == [P - DAY_S] * 3 + [now_s - 10 * DAY_S]
    assert _metrics(keeper)["tidemark_reconcile_whole_last_seconds", ""] == 5 * 3600


def test_a_run_that_failed_looked_at_nothing() -> None:
    """A server that did not answer during the whole run: the next one is whole again; and more drifts than are kept may all be old."""
    back = LookingBack(back_s=10 * DAY_S, whole_s=DAY_S)
    keeper = Keeper(HOUR_MS, Clock(), back=back)
    keeper.failed("ClickHouse does not answer")
    assert back.from_s(P, 1000.0) == EARLIEST_S
    many = _found(30)
    many.counts["lost_report"] += 1
    keeper.took(many, 1.0)
    assert back.from_s(P + 900 * DAY_S, 1000.0) == EARLIEST_S


def test_every_metric_and_every_kind_is_explained() -> None:
    """The documents explain each metric that is exported and each cause."""
    docs = Path(__file__).resolve().parents[2] / "infra/docs"
    operating, reconciling = ((docs / name).read_text(encoding="utf-8") for name in ("operating.md", "reconciling.md"))
    assert [name for name in METRIC_NAMES if f"`{name}`" not in operating] == []
    assert [kind for kind in KINDS if f"| {kind} |" not in reconciling] == []


def test_what_no_run_has_said_is_absent() -> None:
    """Before its first run it exports no drift at all, so that nobody takes silence for a clean account."""
    said = _metrics(Keeper(HOUR_MS, Clock()))
    assert not [name for name, _ in said if name.startswith("tidemark_drift")]
    assert said["tidemark_ready", ""] == 1


def test_a_new_drift_is_an_alarm_once(caplog: pytest.LogCaptureFixture) -> None:
    """A drift is written to the log when it is first found, not again every hour, and again once it came back."""
    keeper = Keeper(HOUR_MS, Clock())
    with caplog.at_level(logging.ERROR):
        for held in ((30,), (30,), (71,), (30,), (30, 112)):
            keeper.took(_found(*held), 1.0)
    told = [record.getMessage() for record in caplog.records]
    assert [message.split(":")[0] for message in told] == ["drift lost_report", "drift lost_report", "drift double_report"]


def test_it_is_not_ready_when_no_run_ends() -> None:
    """Three times `every` without a whole run it says so, with what stood in the way; a drift alone does not make it unready."""
    clock = Clock()
    keeper = Keeper(HOUR_MS, clock)
    keeper.took(_found(30), 1.0)
    assert keeper.unready() is None
    clock.now_s += 3 * 3600 - 1
    keeper.failed("ClickHouse does not answer")
    assert keeper.unready() is None
    clock.now_s += 2
    assert "ClickHouse does not answer" in (keeper.unready() or "")
    status = asyncio.run(keeper.status())
    assert (status["ready"], status["failure"]) == (False, "ClickHouse does not answer")
    assert "1 lost_report" in status["alarms"]
