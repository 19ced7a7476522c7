"""A stated load: what is measured, counted or configured, and where each number came from. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final, Literal, NamedTuple

from topics.durations import format_ms, parse_ms
from topics.errors import ConfigurationFault, Fault

Kind = Literal["rate", "count", "whole", "share", "seconds", "factor"]


@dataclass(frozen=True)
class Load:
    """All that the rule looks at. Rates are per second, spans in seconds, sizes in bytes, shares from 0 to 1."""

    events_per_s: float = 1_000.0
    mean_events_per_s: float = 1_000.0
    customers: int = 1_000
    active: int = 1_000
    meters: int = 1
    postings: float = 1.0
    event_bytes: int = 240
    window_s: float = 3_600.0
    grace_s: float = 300.0
    duplicates: float = 0.01
    rejected: float = 0.001
    late: float = 0.001
    dedup_s: float = 7 * 86_400.0
    horizon_s: float = 30 * 86_400.0
    retention_s: float = 7 * 86_400.0
    raw_days: float = 365.0
    partitions: int = 4
    replication: int = 3
    calls_per_s: float = 80.0
    edge_room_s: float = 540.0
    together: float = 1.0
    growth: float = 4.0
    worker_memory: float = 8e9


class Field(NamedTuple):
    """How a number of the load is written: `least` and `most` are allowed."""

    kind: Kind
    least: float
    most: float
    means: str


FIELDS: Final[dict[str, Field]] = {
    "events_per_s": Field("rate", 0.001, 1e8, "events a second in the busiest hour"),
    "mean_events_per_s": Field("rate", 0.001, 1e8, "events a second over a whole day"),
    "customers": Field("count", 1, 1e9, "customers that have ever sent something within horizon"),
    "active": Field("count", 1, 1e9, "customers that use a meter within one window"),
    "meters": Field("whole", 1, 1000, "meters that a customer uses"),
    "postings": Field("factor", 1, 1000, "meters that one event selects"),
    "event_bytes": Field("whole", 50, 262_144, "bytes of one event's JSON"),
    "window_s": Field("seconds", 10, 86_400, "length of a window"),
    "grace_s": Field("seconds", 0, 30 * 86_400, "how long a window waits after its end"),
    "duplicates": Field("share", 0, 1, "share of events that are copies"),
    "rejected": Field("share", 0, 1, "share of events that are rejected"),
    "late": Field("share", 0, 1, "share of events that come after their window closed"),
    "dedup_s": Field("seconds", 1, 3650 * 86_400, "how long ids are remembered"),
    "horizon_s": Field("seconds", 1, 3650 * 86_400, "how long a window may be corrected"),
    "retention_s": Field("seconds", 60, 3650 * 86_400, "how long usage.events is kept"),
    "raw_days": Field("rate", 1, 36_500, "days that ClickHouse keeps raw events"),
    "partitions": Field("whole", 1, 1024, "partitions of every topic"),
    "replication": Field("whole", 1, 9, "copies that Kafka keeps"),
    "calls_per_s": Field("rate", 0.001, 1e6, "calls a second that the provider is asked for"),
    "edge_room_s": Field("seconds", 1, 86_400 * 40, "time in which the last window of a period can be delivered"),
    "together": Field("share", 0, 1, "share of customers whose billing periods end at the same instant"),
    "worker_memory": Field("rate", 1e9, 1e13, "bytes of memory that one meter process may take"),
    "growth": Field("factor", 1, 10_000, "how many times this load the installation may ever see"),
}
_SUFFIXES: Final = {"k": 1e3, "M": 1e6, "G": 1e9}
_EXAMPLES: Final[dict[Kind, str]] = {
    "rate": "10k, 250000 or 1M",
    "count": "2000, 50k or 1M",
    "whole": "12",
    "share": "0.01",
    "seconds": "10s, 5m, 1h or 7d",
    "factor": "10",
}


class Stated(NamedTuple):
    """The load, and for each field whether it was stated, stands in the configuration, or is the rule's own default."""

    load: Load
    origins: dict[str, str]


def option_of(name: str) -> str:
    """`window_s` is written `--window`, `events_per_s` `--events-per-s`."""
    return "--" + (name.removesuffix("_s") if FIELDS[name].kind == "seconds" else name).replace("_", "-")


def written(name: str, value: float) -> str:
    """A number of the load as an option would be given it."""
    return format_ms(round(value * 1000)) if FIELDS[name].kind == "seconds" and value else f"{value:,.10g}"


def stated(given: Mapping[str, str], configured: Mapping[str, float], file: str) -> Stated:
    """Read what was `given` as text over what is `configured` over the defaults. Raises ConfigurationFault with every fault at once."""
    faults: list[Fault] = []
    values: dict[str, float] = {}
    origins = {each.name: "assumed" for each in fields(Load)}
    for name, value in configured.items():
        values[name], origins[name] = value, file
    for name, text in given.items():
        number = _read(name, text, faults)
        if number is not None:
            values[name], origins[name] = number, "stated"
    _derive(values, origins)
    faults += _across(values, origins)
    if faults:
        raise ConfigurationFault(faults)
    whole = {name: int(value) if FIELDS[name].kind in {"count", "whole"} else float(value) for name, value in values.items()}
    return Stated(Load(**whole), origins)  # type: ignore[arg-type]


def _read(name: str, text: str, faults: list[Fault]) -> float | None:
    field = FIELDS[name]
    number = _number(text, field.kind)
    remedy = f"Write for example {_EXAMPLES[field.kind]}: {field.means}."
    if number is None:
        faults.append(Fault(option_of(name), f"{text!r} is no {'duration' if field.kind == 'seconds' else 'number'}", remedy))
    elif not field.least <= number <= field.most:
        unit = " s" if field.kind == "seconds" else ""
        faults.append(Fault(option_of(name), f"{text} is not between {field.least:,.10g}{unit} and {field.most:,.10g}{unit}", remedy))
    elif field.kind in {"count", "whole"} and number != int(number):
        faults.append(Fault(option_of(name), f"{text} is no whole number", remedy))
    else:
        return number
    return None


def _number(text: str, kind: Kind) -> float | None:
    text = text.strip()
    if kind == "seconds":
        found_ms = parse_ms(text)
        return None if found_ms is None else found_ms / 1000
    plain, scale = (text[:-1], _SUFFIXES[text[-1]]) if text[-1:] in _SUFFIXES else (text, 1.0)
    if kind == "share" and text.endswith("%"):
        plain, scale = text[:-1], 0.01
    try:
        number = float(plain) * scale
    except ValueError:
        return None
    return round(number, 9) if math.isfinite(number) else None


def _derive(values: dict[str, float], origins: dict[str, str]) -> None:
    """What follows from another number where it is not said itself."""
    for name, other in (("mean_events_per_s", "events_per_s"), ("active", "customers")):
        if name not in values and other in values:
            values[name], origins[name] = values[other], f"as {option_of(other)}"


def _across(values: Mapping[str, float], origins: Mapping[str, str]) -> list[Fault]:
    """Faults that no single number shows."""
    load = {name: float(getattr(Load(), name)) for name in FIELDS} | dict(values)
    found = []
    for small, great, why in (
        ("mean_events_per_s", "events_per_s", "a day's mean is not above its busiest hour"),
        ("active", "customers", "nobody is active who is no customer"),
        ("postings", "meters", "an event cannot select more meters than there are"),
    ):
        if load[small] > load[great] and "stated" in (origins[small], origins[great]):
            problem = f"{load[small]:,.10g} is more than {option_of(great)} {load[great]:,.10g}: {why}"
            found.append(Fault(option_of(small), problem, "State both."))
    if load["duplicates"] + load["rejected"] > 1:
        found.append(Fault("--duplicates", "with --rejected it is more than all events", "Write shares that add up to less than 1."))
    return found
