"""How plain events are read under the meters in force: which fields of `data` are wanted, and by event type which meters take it."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from topics.definitions import Definitions
from topics.event import CONTROL_PREFIX
from topics.instants import US_PER_S
from topics.meters import COUNT, Meter, Scalar
from topics.scan_amounts import equals
from topics.scan_values import Bytes
from topics.scanning import FALSE, I64, NUMBER, TEXT, TRUE, Mask

_UNKNOWN: Final = object()


class Plan(NamedTuple):
    """The meters that take events of one type, from `since_us` on; before it, and where there are none, the reference is asked."""

    meters: tuple[Meter, ...]
    since_us: int


class Shape:
    """What is read under one state of the meters. Never changes: with new meters a new one is made."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._plans: dict[str, Plan | None] = {}
        current = [versions[-1].meter for versions in definitions.meters.values() if not versions[-1].removed]
        wanted = sorted({name for meter in current for name in (*meter.where, *([] if meter.value == COUNT else [meter.value]))})
        self._places = {name: 3 * place for place, name in enumerate(wanted)}
        encoded = [name.encode() for name in wanted]
        self.names: Bytes = np.frombuffer(b"".join(encoded), np.uint8)
        self.ends: I64 = np.cumsum([len(name) for name in encoded], dtype=np.int64)
        """The wanted fields' names, one after the other, each up to its end."""

    def plan(self, event_type: str) -> Plan | None:
        """What takes events of this type; None where the reference must say."""
        found = self._plans.get(event_type, _UNKNOWN)
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

    def column(self, fields: I64, name: str) -> tuple[I64, I64, I64]:
        """Kind, position and length of what `data` of each event has under a wanted name."""
        place = self._places[name]
        return fields[:, place], np.ascontiguousarray(fields[:, place + 1]), np.ascontiguousarray(fields[:, place + 2])

    def having(self, values: Bytes, fields: I64, meter: Meter) -> Mask:
        """Of each event whether it has what the meter's `where` wants."""
        found = np.ones(len(fields), np.bool_)
        for name, wanted in meter.where.items():
            kinds, starts, lengths = self.column(fields, name)
            found &= kinds == _kind_of(wanted)
            if not isinstance(wanted, bool):
                # a whole number has one spelling in JSON, but for −0, which no plain record has
                equals(values, starts, lengths, np.frombuffer(str(wanted).encode(), np.uint8), found)
        return found


def _kind_of(wanted: Scalar) -> int:
    """Types are not mixed up: in JSON `true` is not 1, and "1" is neither."""
    if isinstance(wanted, bool):
        return TRUE if wanted else FALSE
    return TEXT if isinstance(wanted, str) else NUMBER
