"""Every request that we send to Stripe, as a table: what later code sends is one row more.

The rows run in their order against the sandbox, against stripe-mock of their API era and, where a key of a test account is set, against Stripe
itself; their parameters are held against Stripe's OpenAPI description. What our code really sends is recorded, and must be in the table.

A value `"{name}"` is taken from the stage: instants and ids, the latter kept by earlier rows (`keeps`: name on the stage → place in the answer).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import parse_qsl

from sinks.stripe.request import API_VERSION, MODERN_VERSION

Era = Literal["usage_records", "meters"]
VERSIONS: Final[dict[Era, str]] = {"usage_records": API_VERSION, "meters": MODERN_VERSION}
OLD: Final[tuple[Era, ...]] = ("usage_records",)
NEW: Final[tuple[Era, ...]] = ("meters",)
BOTH: Final = OLD + NEW
Stage = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One request: `name` says what for; `eras` under which API versions it is sent."""

    name: str
    eras: tuple[Era, ...]
    method: Literal["get", "post", "delete"]
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    keeps: Mapping[str, str] = field(default_factory=dict)


DAY_S: Final = 86_400


def new_stage(now_s: int, salt: str) -> Stage:
    """Instants, and names that no other run of the table has used: `salt`."""
    hour_s = now_s // 3600 * 3600
    return {"now": now_s, "hour": hour_s, "since": now_s - 20 * DAY_S, "edge": now_s + 8 * DAY_S, "before": hour_s - 3600, "salt": salt}


def filled(value: Any, stage: Stage) -> Any:
    """`value` with what stands on the stage; a value that is nothing but a name keeps the stage's type."""
    if isinstance(value, Mapping):
        return {name: filled(each, stage) for name, each in value.items()}
    if isinstance(value, list):
        return [filled(each, stage) for each in value]
    if not isinstance(value, str):
        return value
    whole = re.fullmatch(r"\{(\w+)\}", value)
    return stage[whole[1]] if whole else value.format(**stage)


def kept(row: Row, answer: Any, stage: Stage) -> None:
    """Puts what the row keeps on the stage."""
    for name, place in row.keeps.items():
        found = answer
        for step in place.split("."):
            found = found[int(step)] if isinstance(found, list) else found[step]
        stage[name] = found


@dataclass(frozen=True)
class Sent:
    """One request as it left: parameter names without indices, and with `*` for keys that are data."""

    version: str
    method: str
    path: str
    names: frozenset[str]


def names_of(form: str) -> frozenset[str]:
    """The parameter names of a form or query."""
    plain = (re.sub(r"\[\d*\]", "[]", name) for name, _ in parse_qsl(form, keep_blank_values=True))
    return frozenset(re.sub(r"^(metadata|payload)\[.+\]", r"\1[*]", name) for name in plain)


def flat(params: Mapping[str, Any], under: str = "") -> Iterable[str]:
    """The parameter names of a row, written as a form has them."""
    for name, value in params.items():
        here = f"{under}[{name}]" if under else name
        if isinstance(value, Mapping):
            yield from flat(value, here)
        elif isinstance(value, list):
            for each in value:
                yield from flat(each, f"{here}[]") if isinstance(each, Mapping) else [f"{here}[]"]
        else:
            yield here


def covers(row: Row, sent: Sent) -> bool:
    """Whether the row stands for the request: its era, method and URL, and no parameter less."""
    pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(row.path))
    if row.method != sent.method or sent.version not in {VERSIONS[era] for era in row.eras} or not re.fullmatch(pattern, sent.path):
        return False
    named = "&".join(f"{name}=" for name in flat(row.params))
    return sent.names <= names_of(named)
