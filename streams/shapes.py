"""How plain events are read under the meters in force: one typed decoder that makes no dict of an event, and by event type what takes it.

A typed decoder reads the fields that meters need as `topics.event` reads them, and passes over the rest, checking its syntax. What it refuses
is read by the reference; `tests/core/test_meter_columns.py` holds that the two never differ in what they say.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final, Literal, NamedTuple

import msgspec

from topics.definitions import Definitions
from topics.event import CONTROL_PREFIX
from topics.instants import US_PER_S
from topics.meters import COUNT, Meter
from topics.quantity import Digits

_MOST_FIELDS: Final = 64
"""Beyond so many fields of `data` a record of all of them costs more than a dict of those that are there."""
_MISSING: Final = object()
"""Stands for a field that `data` does not have: equal to nothing, and no quantity."""
_HEAD: Final = (("specversion", Literal["1.0"]), ("id", str), ("source", str), ("type", str), ("subject", str))


class Plan(NamedTuple):
    """The meters that take events of one type, from `since_us` on; before it, and where there are none, the reference is asked."""

    meters: tuple[Meter, ...]
    since_us: int


class Shape:
    """Decoder and plans under one state of the meters. Never changes: with new meters a new one is made."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._plans: dict[str, Plan | None] = {}
        current = [versions[-1].meter for versions in definitions.meters.values() if not versions[-1].removed]
        names = {name for meter in current for name in (*meter.where, *([] if meter.value == COUNT else [meter.value]))}
        self._fields: dict[str, str] | None = {name: f"f{number}" for number, name in enumerate(sorted(names))}
        if len(names) > _MOST_FIELDS or not all(map(_is_plain, names)):
            self._fields = None
        fields: list[Any] = [*_HEAD, ("time", str | None, None)]
        if self._fields is None:
            fields.append(("data", object, None))
        elif self._fields:
            # `object`: a number that is no integer is kept by its digits, and any other value as the reference has it
            inner = [(field, object, _MISSING) for field in self._fields.values()]
            data = msgspec.defstruct("Data", inner, gc=False, frozen=True, rename={field: name for name, field in self._fields.items()})
            fields.append(("data", data, data()))
        event = msgspec.defstruct("PlainEvent", fields, gc=False)
        self.decode = msgspec.json.Decoder(event, float_hook=Digits).decode
        self.nothing: Any = event("1.0", "", "", "", "")
        """Stands for a record that is not plain: no type, no customer."""

    def plan(self, event_type: str) -> Plan | None:
        """What takes events of this type; None where the reference must say."""
        found = self._plans.get(event_type, _MISSING)
        if not (found is None or isinstance(found, Plan)):
            found = self._make(event_type)
            if len(self._plans) < 10_000 and len(event_type) <= 512:
                self._plans[event_type] = found
        return found

    def _make(self, event_type: str) -> Plan | None:
        versions = [self._definitions.meters[slug][-1] for slug in self._definitions.by_type.get(event_type, ())]
        meters = tuple(version.meter for version in versions if not version.removed and version.meter.event_type == event_type)
        if not meters or event_type.startswith(CONTROL_PREFIX):
            return None
        return Plan(meters, max(version.valid_from_s for version in versions) * US_PER_S)

    def column(self, events: list[Any], name: str) -> list[object]:
        """What `data` of each event has under a name that some meter needs."""
        if self._fields is None:
            return [event.data.get(name, _MISSING) if type(event.data) is dict else _MISSING for event in events]
        return list(map(attrgetter(f"data.{self._fields[name]}"), events))

    def having(self, events: list[Any], meter: Meter) -> list[bool]:
        """Of each event whether it has what the meter's `where` wants."""
        found = [True] * len(events)
        for name, wanted in meter.where.items():
            kind = type(wanted)  # type() and not isinstance: in JSON `true` is not 1
            column = self.column(events, name)
            found = [so_far and type(value) is kind and value == wanted for so_far, value in zip(found, column, strict=True)]
        return found


def _is_plain(name: str) -> bool:
    """True where a typed field can have this name: JSON writes it without escapes."""
    return name.isprintable() and '"' not in name and "\\" not in name
