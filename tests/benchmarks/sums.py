"""What both bare loops do with a value, and how they say what they summed: the quickest that plain Python with msgspec can do."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

Sums = dict[tuple[str, ...], int]
MARK = "BENCH-SUMS "
METERS = int(os.environ.get("BENCH_METERS", "1"))


class Data(msgspec.Struct, gc=False):
    """The event's quantities; the second and third are there where the shape has three meters."""

    n: int
    m: int = 0
    k: int = 0


class Event(msgspec.Struct, gc=False):
    """What the sum needs of an event."""

    subject: str
    time: str
    data: Data


DECODE = msgspec.json.Decoder(Event).decode


def add(sums: Sums, values: Iterable[bytes]) -> None:
    """Decode and sum what one fetch brought, by customer and minute (and meter, where there are three)."""
    if METERS > 1:
        _add_three(sums, values)
        return
    for value in values:
        try:
            event = DECODE(value)
        except msgspec.ValidationError:
            continue  # the meters record that Tidemark needs
        sums[event.subject, event.time[:16]] += event.data.n


def _add_three(sums: Sums, values: Iterable[bytes]) -> None:
    for value in values:
        try:
            event = DECODE(value)
        except msgspec.ValidationError:
            continue
        key, data = (event.subject, event.time[:16]), event.data
        sums[*key, "n"] += data.n
        sums[*key, "m"] += data.m
        sums[*key, "k"] += data.k


def say(sums: Sums) -> None:
    """Print the total on a line that `answers.said` finds."""
    print(MARK + json.dumps({"units": sum(sums.values())}), flush=True)
