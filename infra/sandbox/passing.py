"""What time does: everything that is due is done in order, one thing a transaction, each exactly once, also after a kill.

On the sandbox's clock things are due when it passes them; on a test clock when it is advanced past them. Each thing is done at its own
instant, however late the sandbox comes to it: an invoice is stamped with its period's end.
"""

from __future__ import annotations

from infra.sandbox import cycle, events, invoicing, test_clocks, timetable
from infra.sandbox.knobs import Knobs
from infra.sandbox.moment import Moment
from infra.sandbox.resources import Json
from infra.sandbox.store import Store


def settle(store: Store, knobs: Knobs, now_s: float) -> int:
    """Does what is due up to an instant of the sandbox's clock, test clocks under way included; how many things. Opens its own transactions."""
    done = 0
    while (due := timetable.first(store, timetable.OWN, now_s)) is not None:
        with store.transaction():
            _step(store, knobs, *due, now_s)
        done += 1
    return done


def _step(store: Store, knobs: Knobs, object_id: str, at_s: float, wall_s: float) -> None:
    body = store.any(object_id)
    if body is not None and body["object"] == test_clocks.KIND:
        _step_clock(store, knobs, body, wall_s)
    else:
        clock = store.get(test_clocks.KIND, (body or {}).get("test_clock") or "")
        frozen = None if clock is None else Moment(store, knobs, float(clock["frozen_time"]), clock["id"], wall_s)
        _happen(frozen or Moment(store, knobs, at_s, timetable.OWN, wall_s), object_id, body)


def _step_clock(store: Store, knobs: Knobs, clock: Json, wall_s: float) -> None:
    """The next thing on an advancing clock, or its arrival."""
    due = timetable.first(store, clock["id"], clock["_target"])
    if due is not None:
        object_id, at_s = due
        _happen(Moment(store, knobs, at_s, clock["id"], wall_s, advancing=True), object_id, store.any(object_id))
        return
    clock = test_clocks.arrived(clock)
    store.put(clock)
    events.emit(store, "test_helpers.test_clock.ready", lambda version: test_clocks.shaped(clock, version), wall_s)
    timetable.plan(store, clock["id"], clock=timetable.OWN, at_s=None, rank=0)


def _happen(moment: Moment, object_id: str, body: Json | None) -> None:
    """What is due happens to an object; it plans what comes next."""
    if body is None:
        moment.plan(object_id, None, rank=0)
    elif body["object"] == "invoice":
        invoicing.happen(moment, body)
    else:
        cycle.happen(moment, body)
