"""Who is told of events: webhook endpoints (snapshots) and event destinations (snapshots or thin events), seen alike.

Source: https://docs.stripe.com/api/webhook_endpoints/object and https://docs.stripe.com/api/v2/core/event_destinations/object
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from infra.sandbox.resources import Json
from infra.sandbox.store import Store

ENDPOINT = "webhook_endpoint"
DESTINATION = "v2.core.event_destination"
EVERYTHING = "*"


@dataclass(frozen=True, slots=True)
class Target:
    """Where events go: `version` of the snapshots (None: the account's), `secrets` with the instant up to which each signs (None: open)."""

    id: str
    url: str
    enabled: bool
    types: tuple[str, ...]
    thin: bool
    version: str | None
    secrets: tuple[tuple[str, float | None], ...]

    def wants(self, event_type: str) -> bool:
        """Whether events of this type are sent to it."""
        return self.enabled and any(each in {EVERYTHING, event_type} for each in self.types)

    def signing(self, now_s: float) -> list[str]:
        """The secrets that sign now: two while an old one has not expired."""
        return [secret for secret, until_s in self.secrets if until_s is None or now_s < until_s]

    def __repr__(self) -> str:
        """Without its secrets."""
        return f"Target({self.id}, {self.url})"


def target_of(body: Json) -> Target:
    """A stored endpoint or destination as a target."""
    snapshot_version = body["api_version"] if body["object"] == ENDPOINT else body["snapshot_api_version"]
    return Target(
        id=body["id"],
        url=body["url"] if body["object"] == ENDPOINT else body["webhook_endpoint"]["url"],
        enabled=body["status"] == "enabled",
        types=tuple(body["enabled_events"]),
        thin=body["object"] == DESTINATION and body["event_payload"] == "thin",
        version=snapshot_version,
        secrets=tuple((secret, until_s) for secret, until_s in body["_secrets"]),
    )


def targets(store: Store) -> list[Target]:
    """Every target, oldest first."""
    return [target_of(body) for kind in (ENDPOINT, DESTINATION) for body in store.scan(kind, newest_first=False)]


def target(store: Store, target_id: str) -> Target | None:
    """One target, if it is still there."""
    body = store.any(target_id)
    return target_of(body) if body is not None and body["object"] in {ENDPOINT, DESTINATION} else None


def rolled(body: Json, secret: str, now_s: float, expires_s: float) -> Json:
    """After its secret was rolled: the new one signs, and the old ones still do so for `expires_s` seconds (at Stripe at most 24 hours)."""
    old = [[each, now_s + expires_s if until_s is None else min(until_s, now_s + expires_s)] for each, until_s in body["_secrets"]]
    return {**body, "_secrets": [[secret, None], *[each for each in old if each[1] > now_s]]}


def instant(now_s: float) -> str:
    """An instant as API v2 writes it."""
    return datetime.fromtimestamp(int(now_s * 1000) / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
