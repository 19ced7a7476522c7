"""Subscriptions of an older program's directory: they get the fields that billing needs, and are billed from their current period on."""

from __future__ import annotations

from infra.sandbox import standing, timetable
from infra.sandbox.knobs import Knobs
from infra.sandbox.moment import Moment
from infra.sandbox.periods import Schedule
from infra.sandbox.resources import Json
from infra.sandbox.store import Store

_FACT = "billing"


def adopt(store: Store, knobs: Knobs, now_s: float) -> None:
    """Once for a directory, in one transaction; nothing before `now_s` is billed, and nothing is said to have happened."""
    if store.fact(_FACT) is not None:
        return
    with store.transaction():
        store.set_fact(_FACT, {"since_s": now_s})
        for body in list(store.scan("subscription")):
            if "_period" not in body:
                standing.put(Moment(store, knobs, now_s, timetable.OWN, now_s), upgraded(body, now_s), None)


def upgraded(body: Json, now_s: float) -> Json:
    """A subscription as it is now stored: in the period of the instant, or of its end; one whose end has passed is canceled."""
    first_start, anchor, interval, count, first_edge = body["_schedule"]
    schedule = Schedule(first_start, anchor, interval, count, first_edge)
    ended = body["_ended_at"]
    if ended is None and body["_cancel_at"] is not None and now_s >= body["_cancel_at"]:
        ended = body["_cancel_at"]
    return {
        **body,
        "billing_mode": {"type": "classic", "updated_at": None},
        "status": "active" if ended is None else "canceled",
        "_period": schedule.at(now_s if ended is None else ended - 1).index,
        "_past": [],
        "_ended_at": ended,
        "_told": [],
        "_announced": True,
        "_resuming": False,
        "_cycle_invoice": None,
    }
