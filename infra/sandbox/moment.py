"""An instant in the life of one customer's objects, whether a call or the passing of time brought it about."""

from __future__ import annotations

from dataclasses import dataclass

from infra.sandbox import events, timetable
from infra.sandbox.knobs import Knobs
from infra.sandbox.resources import Json
from infra.sandbox.store import Store


@dataclass(frozen=True, slots=True)
class Moment:
    """`now_s` is the instant on the customer's clock, `clock` that clock's id ("" for the sandbox's own), `wall_s` the sandbox's clock.
    `advancing` says that the test clock is on its way, so that what is due on it will be found."""

    store: Store
    knobs: Knobs
    now_s: float
    clock: str
    wall_s: float
    advancing: bool = False

    @property
    def now(self) -> int:
        """The second, as Stripe stamps objects."""
        return int(self.now_s)

    def plan(self, object_id: str, at_s: float | None, *, rank: int) -> None:
        """The next thing that time does to an object, on this customer's clock; None: nothing more."""
        if at_s is not None and self.clock and at_s <= self.now_s and not self.advancing:  # a frozen clock would never come to it
            timetable.plan(self.store, object_id, clock=timetable.OWN, at_s=self.wall_s, rank=rank)
        else:
            timetable.plan(self.store, object_id, clock=self.clock, at_s=at_s, rank=rank)

    def emit(self, event_type: str, shaped: Json | events.Shape) -> None:
        """Says that something has happened to an object, as it is now: the object, or what gives it for an API version."""
        events.emit(self.store, event_type, shaped, self.now_s)


def clock_of(customer: Json | None) -> str:
    """The name of a customer's clock in the timetable."""
    return timetable.OWN if customer is None else customer.get("test_clock") or timetable.OWN
