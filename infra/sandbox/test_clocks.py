"""Test clocks: frozen instants that move only when told to, with all objects of their customers. Pure.

Source: https://docs.stripe.com/billing/testing/test-clocks and https://docs.stripe.com/api/test_clocks
"""

from __future__ import annotations

from collections.abc import Iterable

from infra.sandbox import errors, periods, versions
from infra.sandbox.resources import Json

KIND = "test_helpers.test_clock"
KEPT_S = 30 * 86_400
"""How long after its creation a clock says that it will be deleted, as in answers seen in the field (stripe/stripe-python#789)."""
INTERVALS_AHEAD = 2


def opened(object_id: str, created: int, params: Json) -> Json:
    """A new clock, ready at its frozen time."""
    return {
        "id": object_id,
        "object": KIND,
        "created": created,
        "deletes_after": created + KEPT_S,
        "frozen_time": params["frozen_time"],
        "livemode": False,
        "name": params.get("name"),
        "status": "ready",
        "_target": None,
    }


def advancing(body: Json, target: int, shortest: Iterable[tuple[str, int]]) -> Json:
    """The clock on its way to `target`; `shortest` has (interval, count) of every running subscription on it."""
    now = body["frozen_time"]
    if body["status"] != "ready":
        message = "Test clock advancement underway: the clock cannot be advanced before it is ready."
        raise errors.refused(message, rule="clocks.underway")
    if target <= now:
        message = "The frozen time of a test clock can only be advanced: it must be after the clock's current frozen time."
        raise errors.refused(message, rule="clocks.forward", param="frozen_time")
    limits = [periods.edge(now, interval, count, INTERVALS_AHEAD) for interval, count in shortest] or [periods.edge(now, "year", 1, 2)]
    if target > min(limits):
        message = (
            "The frozen time cannot be more than two intervals in the future from the shortest subscription on this test clock "
            "(two years, if there is none)."
        )
        raise errors.refused(message, rule="clocks.ahead", param="frozen_time")
    return {**body, "status": "advancing", "_target": target}


def arrived(body: Json) -> Json:
    """The clock at its target, ready again."""
    return {**body, "frozen_time": body["_target"], "status": "ready", "_target": None}


def shaped(body: Json, version: str) -> Json:
    """The clock as it leaves the sandbox; `status_details` came with the versions that have names."""
    shown = {name: value for name, value in body.items() if not name.startswith("_")}
    if versions.is_named(version):
        shown["status_details"] = {} if body["_target"] is None else {"advancing": {"target_frozen_time": body["_target"]}}
    return shown
