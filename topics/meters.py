"""What is metered: the `tidemark.meters` control record (all meters and timings) and a meter's version in force."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from topics.codec import CONTROL_VERSION, Stored, digest
from topics.windows import is_window_size

METERS_TYPE: Final = "tidemark.meters"
BEGINNING_S: Final = -62_135_596_800
"""0001-01-01T00:00:00Z: "holds from the beginning"."""
COUNT: Final = "count"
_SLUG = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)
ENDING_S: Final = 253_402_300_800
"""10000-01-01T00:00:00Z: no instant of ours lies at or after it."""
_LONGEST_MS: Final = 100 * 366 * 86_400_000
"""A hundred years: beyond it a timing is a mistake, and its sums leave the 64 bits that a stored record has for them."""
Scalar = str | int | bool


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """The log's own clocks, all in milliseconds; each ≥ 1 s (`revision_delay` may be 0)."""

    dedup_ms: int = 7 * 86_400_000
    horizon_ms: int = 30 * 86_400_000
    future_ms: int = 300_000
    revision_delay_ms: int = 30_000


class Meter(msgspec.Struct, frozen=True, kw_only=True):
    """One meter as it is proposed: which events it takes, what it sums, its grid (`window_s`) and `grace_ms`.

    `value` is "count" or the property of `data` with the quantity; `where` are values that `data` must have.
    """

    slug: str
    event_type: str
    value: str = COUNT
    where: dict[str, Scalar] = {}
    window_s: int = 3600
    grace_ms: int = 300_000
    allow_negative: bool = False


class MeterVersion(Stored, frozen=True, kw_only=True):
    """A meter as the fold put it in force: valid for instants ≥ `valid_from_s`, until its next version; `removed` ends it."""

    kind: str = "meter"
    meter: Meter
    valid_from_s: int
    removed: bool = False
    offset: int
    digest: str


class TimingVersion(Stored, frozen=True, kw_only=True):
    """Timings in force from the record at `offset` on."""

    kind: str = "timing"
    timing: Timing
    offset: int
    digest: str


class MetersRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`data` of a `tidemark.meters` record: the whole set, the digest it replaces, and from when it is wished."""

    v: int = CONTROL_VERSION
    digest: str
    replaces: str | None = None
    valid_from_s: int | None = None
    timing: Timing
    meters: tuple[Meter, ...]


def meters_digest(timing: Timing, meters: tuple[Meter, ...]) -> str:
    """The name of a set of meters: SHA-256 of its canonical JSON."""
    return digest([timing, sorted(meters, key=lambda meter: meter.slug)])


def meter_problems(meters: tuple[Meter, ...], timing: Timing) -> list[str]:
    """Why a set of meters cannot be used; an empty list where it can."""
    problems: list[str] = []
    slugs = [meter.slug for meter in meters]
    problems += [f"meter {slug!r} is there twice" for slug in sorted({slug for slug in slugs if slugs.count(slug) > 1})]
    for meter in meters:
        if not _SLUG.fullmatch(meter.slug):
            problems.append(f"meter slug {meter.slug!r} is not of a-z, 0-9 and _ (at most 63, a letter first)")
        if not meter.event_type or meter.event_type.startswith("tidemark."):
            problems.append(f"meter {meter.slug!r}: event_type {meter.event_type!r} is empty or reserved")
        if not meter.value:
            problems.append(f"meter {meter.slug!r}: value is empty")
        if not is_window_size(meter.window_s):
            problems.append(f"meter {meter.slug!r}: a window of {meter.window_s} s is not 10 s … 1 d or does not divide a day")
        if not 0 <= meter.grace_ms <= _LONGEST_MS:
            problems.append(f"meter {meter.slug!r}: grace is negative or longer than 100 years")
    for name in ("dedup_ms", "horizon_ms", "future_ms"):
        if not 1000 <= getattr(timing, name) <= _LONGEST_MS:
            problems.append(f"timing {name} is less than one second or more than 100 years")
    if not 0 <= timing.revision_delay_ms <= _LONGEST_MS:
        problems.append("timing revision_delay_ms is negative or more than 100 years")
    return problems


def is_instant(instant_s: int | None) -> bool:
    """True for whole seconds of the years 1 to 9999, and for none at all."""
    return instant_s is None or BEGINNING_S <= instant_s < ENDING_S
