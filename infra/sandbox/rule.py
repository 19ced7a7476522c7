"""One rule of the sandbox, with where it comes from; the tables of rules are by subject (`rules.py` puts them together)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Evidence = Literal["documented", "field", "assumption"]
"""documented: Stripe's pages, API reference or OpenAPI description · field: answers that others saw and published · assumption: ours."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: an id that errors refer to, a sentence, its evidence, its source, the knob that changes it and the knob's value."""

    id: str
    sentence: str
    evidence: Evidence
    source: str
    knob: str | None = None
    value: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def documented(id_: str, sentence: str, source: str, knob: str | None = None) -> Rule:
    """A rule that Stripe documents; `source` is a page or a part of the OpenAPI description."""
    return Rule(id_, sentence, "documented", source, knob)


def seen(id_: str, sentence: str, source: str, knob: str | None = None) -> Rule:
    """A rule that others saw Stripe follow, and published."""
    return Rule(id_, sentence, "field", source, knob)


def assumed(id_: str, sentence: str, why: str, knob: str | None = None) -> Rule:
    """A rule of ours: `why` argues for it, and `knob`, if any, turns it."""
    return Rule(id_, sentence, "assumption", why, knob)
