"""An instant in the life of one customer's objects, whether a call or the passing of time brought it about."""

from __future__ import annotations

from dataclasses import dataclass

from infra.sandbox import timetable
from infra.sandbox.knobs import Knobs
from infra.sandbox.resources import Json
from infra.sandbox.store import Store


@dataclass(frozen=True, slots=True)
class Moment:
    """`now_s` is the instant on the customer's clock, `clock` that clock's id ("" for the sandbox's own), `wall_s` the sandbox's clock."""

    store: Store
    knobs: Knobs
    now_s: float
    clock: str
    wall_s: float

    @property
    def now(self) -> int:
        """The second, as Stripe stamps objects."""
        return int(self.now_s)

    def plan(self, object_id: str, at_s: float | None, *, rank: int) -> None:
        """The next thing that time does to an object, on this customer's clock; None: nothing more."""
        timetable.plan(self.store, object_id, clock=self.clock, at_s=at_s, rank=rank)


def clock_of(customer: Json | None) -> str:
    """The name of a customer's clock in the timetable."""
    return timetable.OWN if customer is None else customer.get("test_clock") or timetable.OWN
