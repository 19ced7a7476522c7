"""The receiver that a sandbox tells of everything that happens, for as long as it runs with it: one webhook endpoint for snapshots and one event
destination for thin events, with a signing secret that was agreed before either side started.

At Stripe somebody makes both in the Dashboard and carries their secrets over; an embedded stack and a compose file have nobody who would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import urlsplit

from infra.sandbox import webhook_targets
from infra.sandbox.knobs import Knobs
from infra.sandbox.store import Store
from infra.webhooks.errands import THIN_TYPES, TYPES
from infra.webhooks.signature import secrets_of
from topics.errors import UsageError

ENDPOINT_ID: Final = "we_standing"
DESTINATION_ID: Final = "ed_test_standing"
VARIABLE: Final = "STRIPE_WEBHOOK_SECRET"
RETRY_S: Final = 2.0
"""The first pause before what it did not take is sent again: it is started, and started again, beside the sandbox within seconds."""
LONGEST_S: Final = 4.0
"""No pause is longer: Kafka, which it needs, is away for a quarter of a minute after a kill, and nobody should wait as long again."""
RETRIES: Final = 2000
"""So it may be away for more than two hours."""


@dataclass(frozen=True)
class Receiver:
    """Where it is, what it knows our signature by, and what it is told of."""

    url: str
    secret: str = field(repr=False)
    types: Sequence[str]
    thin_types: Sequence[str]


def named(url: str | None, environment: Mapping[str, str]) -> Receiver | None:
    """The receiver at `url`, its secret from the environment; None for no URL. Raises UsageError where there is no secret or it is no URL."""
    if url is None:
        return None
    secrets = secrets_of(environment.get(VARIABLE, ""))
    if not secrets:
        raise UsageError(f"--webhooks-to needs {VARIABLE} in the environment: the same secret that the receiver gets")
    if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
        raise UsageError(f"{url[:80]!r} is no URL: write http://HOST:PORT/stripe")
    return Receiver(url, secrets[0], TYPES, THIN_TYPES)


def known_to(knobs: Knobs, receiver: Receiver | None) -> Knobs:
    """Knobs under which this receiver may be written to, and is tried again soon."""
    if receiver is None:
        return knobs
    host = urlsplit(receiver.url).hostname or ""
    return replace(knobs, webhook_host=host, webhook_retry_s=RETRY_S, webhook_retry_longest_s=LONGEST_S, webhook_retries=RETRIES)


def put(store: Store, receiver: Receiver, now_s: float) -> None:
    """Both targets as they are to be now, under ids that stay: a second start changes them and adds none. What was still to be sent goes to
    the new address, signed with the new secret."""
    common = {"created": int(now_s), "livemode": False, "metadata": {}, "status": "enabled", "_secrets": [[receiver.secret, None]]}
    about = {"description": "the receiver that this sandbox was started with"}
    endpoint = {"api_version": None, "application": None, "enabled_events": list(receiver.types), "url": receiver.url}
    destination = {
        "enabled_events": list(receiver.thin_types),
        "event_payload": "thin",
        "events_from": ["@self"],
        "name": "standing receiver",
        "snapshot_api_version": None,
        "status_details": None,
        "type": "webhook_endpoint",
        "webhook_endpoint": {"url": receiver.url},
    }
    instant = webhook_targets.instant(now_s)
    with store.transaction():
        store.put({"id": ENDPOINT_ID, "object": webhook_targets.ENDPOINT, **common, **about, **endpoint})
        body = {"id": DESTINATION_ID, "object": webhook_targets.DESTINATION, **common, **about, **destination}
        store.put(body | {"created": instant, "updated": instant})
