"""Usage that stands at Stripe and that nobody is asked to pay: a void invoice, a line that is gone, an item that was deleted; found and repaired."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.embedded.testing import engine_server
from infra.reconciling.drift import Drift
from tests.contract.archive_engine import archive_at
from tests.drift.finding import drifts_of, proposals_of, reconcile, repair, rest, settle_adjustments
from tests.drift.plan import EDGE_S, HOUR_S, START_S, UNTIL_S, plan_of
from tests.drift.unbilling import DRAFT_S, PAUSED_S, take_off
from tests.drift.world import World
from tests.simulation.year.shop import LEGACY

SEED = 11


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The first customer's usage records end on a void invoice, its line of a meter is taken off the draft, and in the end an item is deleted."""
    directory = tmp_path_factory.mktemp("unbilled")
    with engine_server(directory / "engine") as server:
        found = World(plan_of(SEED), directory / "world", archive_at(server.url, "unbilled"))
        name = found.plan.people[0].name

        def delete() -> None:
            found.shop.call("DELETE", f"/v1/subscription_items/{found.items[name, 'calls'].item}", {"clear_usage": True}, LEGACY)

        found.deeds += [
            (PAUSED_S, lambda: found.pause(name, "calls", "void")),
            (DRAFT_S, lambda: take_off(found, name, "hourly")),
            (UNTIL_S - HOUR_S, delete),
        ]
        found.live()
        rest(found)
        yield found
        found.close()


def _said(drifts: list[Drift]) -> list[tuple[str, str, int, str]]:
    return sorted((drift.meter, drift.kind, drift.period[0] if drift.period else 0, drift.repair) for drift in drifts)


def test_usage_that_no_invoice_bills_is_found_and_listed(world: World) -> None:
    """Each period is one drift with what it lacks; the repair makes adjustments of it, and after a person has settled them nothing of it is left;
    a deleted item whose period still runs is a person's, and so is a meter's line that is gone."""
    found = reconcile(world)
    drifts = drifts_of(found)
    people = [("calls", "provider_edit", EDGE_S, "review"), ("hourly", "provider_edit", START_S, "review")]
    unbilled = [(meter, "provider_edit", START_S, "settle") for meter in ("calls", "data", "seats")]
    assert _said(drifts) == sorted([*people, *unbilled])
    assert {drift.numbers["line"] for drift in drifts} == {"0"}
    assert all(drift.difference_scaled < 0 and drift.amount is not None and drift.amount < 0 for drift in drifts)
    why = {(drift.meter, drift.period[0] if drift.period else 0): drift.sentence for drift in drifts}
    assert "is void" in why["data", START_S]
    assert "has no line of it" in why["hourly", START_S]
    assert "deleted at Stripe" in why["calls", EDGE_S]
    assert [bool(each.steps) for each in proposals_of(found)] == [drift.repair == "settle" for drift in drifts]

    assert all(done.is_done for done in repair(world, found))
    rest(world)
    late = drifts_of(reconcile(world))
    assert {drift.kind for drift in late} == {"late_after_finality", "provider_edit"}
    assert settle_adjustments(world) > 0
    rest(world)
    assert _said(drifts_of(reconcile(world))) == people
