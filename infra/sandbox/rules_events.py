"""The rules of events, webhook endpoints, event destinations and their deliveries."""

from __future__ import annotations

from infra.sandbox.rule import Rule, assumed, documented

BEHAVIORS = "https://docs.stripe.com/webhooks#behaviors"
SIGNATURE = "https://docs.stripe.com/webhooks/signature"
ROLL = "https://docs.stripe.com/webhooks#roll-endpoint-secrets"
EVENTS = "https://docs.stripe.com/api/events"
ENDPOINTS = "https://docs.stripe.com/api/webhook_endpoints"
DESTINATIONS = "https://docs.stripe.com/api/v2/core/event_destinations"
THIN = "https://docs.stripe.com/event-destinations"

EVENT_RULES: tuple[Rule, ...] = (
    documented("events.kept", "an event can be asked for 30 days long", f"{EVENTS}/list", "events_kept_s"),
    documented("events.list", "newest first, by `type` or by up to 20 `types`, never by both; the words are ours", f"{EVENTS}/list"),
    documented("events.version", "an event keeps its object as it was, in the version of the account at that time", f"{EVENTS}/object"),
    assumed("events.created", "the instant of the customer's test clock, if it has one", "its objects are stamped with it too"),
    assumed("events.request", "an event does not name the request that caused it", "nothing of ours asks"),
    assumed("events.previous", "an update does not say what it changed (previous_attributes)", "nothing of ours asks"),
    documented("events.thin", "a thin event's webhook has no data; the event that is fetched has", f"{THIN}#benefits-of-thin-events"),
    documented("webhooks.secret", "an endpoint's secret is shown once, when it is made", f"{ENDPOINTS}/object"),
    documented("webhooks.version", "an endpoint's events are in the version that it was made with, else the account's", f"{ENDPOINTS}/create"),
    documented("webhooks.types", "`*` stands for all types; the form of a type is checked, not its existence", ENDPOINTS),
    documented("webhooks.url", "an absolute URL; plain HTTP is taken, as in test mode; the words are ours", f"{ENDPOINTS}/create"),
    assumed("webhooks.loopback", "webhooks go to this machine only", "a sandbox must not write to strangers", "webhook_anywhere"),
    assumed("webhooks.standing", "a receiver named at the start is told of what it asks for", "nobody makes an endpoint by hand", "webhook_host"),
    documented("webhooks.signature", "`Stripe-Signature: t=..,v1=..`, HMAC-SHA256 of `<t>.<body>`, anew at each attempt", SIGNATURE),
    documented("webhooks.roll", "after a roll both secrets sign until the old one expires, at most 24 hours later", ROLL),
    documented("webhooks.retries", "what is not answered 2xx is sent again, in a sandbox three times", BEHAVIORS, "webhook_retries"),
    assumed("webhooks.pauses", "30 minutes, then one hour, then two", "Stripe says 'over a few hours'", "webhook_retry_s"),
    assumed("webhooks.longest_pause", "no pause is longer than a day", "Stripe tries for three days in all", "webhook_retry_longest_s"),
    assumed("webhooks.delay", "a webhook is sent within a second", "Stripe names no time", "webhook_delay_s"),
    assumed("webhooks.forged", "every post is signed with the endpoint's secret", "anybody may post to a receiver", "webhook_forged"),
    assumed("webhooks.timeout", "an answer that takes longer counts as none", "Stripe names no time", "webhook_timeout_s"),
    documented("webhooks.order", "no order is promised; all wait equally long unless the knob shuffles them", BEHAVIORS, "webhook_shuffle_s"),
    documented("webhooks.copies", "the same event may come twice", BEHAVIORS, "webhook_copies"),
    assumed("webhooks.seed", "which event is late or doubled is drawn by seed", "a run can be repeated", "webhook_seed"),
    documented("webhooks.disabled", "a disabled or deleted endpoint gets no more retries of what happened before", BEHAVIORS),
    documented("destinations.version", "`snapshot_api_version` is for snapshot events only; the words are ours", f"{DESTINATIONS}/create"),
    documented("destinations.include", "URL and secret are shown where `include` asks for them, the secret only at first", f"{DESTINATIONS}/create"),
    assumed("destinations.idempotency", "keys are kept as in API v1", "Stripe keeps those of v2 for 30 days; nobody here asks for so long"),
)
