"""Spans of time that lists are cut by: whole seconds in API v1, RFC 3339 texts in API v2. A span is (least, most) in milliseconds.

Source: the `created` of https://docs.stripe.com/api/events/list and of https://docs.stripe.com/api/v2/core/events/list
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from infra.sandbox import errors
from infra.sandbox.form import Raw
from infra.sandbox.params import Integer, Param, Spec, String, Timestamp, validate

Span = tuple[int, int]
EVER: Span = (0, 2**62)


@dataclass(frozen=True, slots=True)
class Seconds:
    """A second, or its bounds `gt`, `gte`, `lt` and `lte`."""

    def read(self, raw: Raw, name: str) -> Span:
        """The span."""
        if isinstance(raw, str):
            at_ms = Integer(0, 253_402_300_799).read(raw, name) * 1000
            return at_ms, at_ms
        bound = Param(Timestamp())
        return _span(validate(dict.fromkeys(_BOUNDS, bound), raw, name), lambda second: int(second) * 1000)


@dataclass(frozen=True, slots=True)
class Instants:
    """Bounds `gt`, `gte`, `lt` and `lte` as RFC 3339 texts with a zone."""

    def read(self, raw: Raw, name: str) -> Span:
        """The span."""
        if isinstance(raw, str):
            raise errors.wrong_shape(name, "an object")
        bounds: Spec = dict.fromkeys(_BOUNDS, Param(String(40)))
        return _span(validate(bounds, raw, name), lambda text: instant_ms(text, name))


_BOUNDS = ("gt", "gte", "lt", "lte")


def instant_ms(text: str, name: str) -> int:
    """Milliseconds since the epoch of an RFC 3339 text; ApiError 400 where it is none."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise errors.wrong_shape(name, "an RFC 3339 instant with a zone, such as 2026-10-28T12:00:00Z")
    since = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


def _span(bounds: dict[str, Any], read_ms: Callable[[Any], int]) -> Span:
    at_ms = {name: read_ms(value) for name, value in bounds.items()}
    least = max(at_ms.get("gt", -1) + 1, at_ms.get("gte", 0))
    most = min(at_ms.get("lt", EVER[1] + 1) - 1, at_ms.get("lte", EVER[1]))
    return least, most
