"""What Stripe leaves undocumented, as numbers that a test or an operator can turn.

Each knob is named by the rule that uses it (`rules.py`), so that `tidemark sandbox --rules` shows rule, source and value together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from topics.errors import UsageError

NEWEST_VERSION = "2026-10-28.endive"
"""What a new account would be on: the default of the official Python client that we pin. It is past the removal of usage records,
so that a caller who forgets to pin the old version fails here as it would fail at Stripe."""


@dataclass(frozen=True, slots=True)
class Knobs:
    """Tolerances and limits of one sandbox; the defaults are what the documentation says or, where it is silent, the stricter guess."""

    calls_per_second: float = 100.0
    """Calls a second for the account before 429; Stripe: 100 live."""

    endpoint_calls_per_second: Mapping[str, float] = field(default_factory=dict)
    """Further limits by resource name (`usage_records`, `prices`, ...), calls a second; none by default."""

    default_version: str = NEWEST_VERSION
    """API version of a call without a `Stripe-Version` header."""

    idempotency_ttl_s: int = 86_400
    """Seconds, on the sandbox's clock, for which a key replays its first answer; Stripe prunes keys once they are at least 24 hours old."""

    grace_s: int = 300
    """Seconds at the beginning of a period in which usage of the last `grace_s` of the old period is still taken (aggregate `sum` only).
    Stripe says "the first few minutes" and guarantees nothing; 0 makes every report at the edge fail that is not early."""

    future_s: int = 300
    """Seconds that a usage timestamp may lie ahead of the sandbox's clock. Stripe says "must not be in the future"; senders in the field
    use +5 minutes."""

    period_start_taken: bool = False
    """Whether usage stamped with the very second at which the period starts is taken. Stripe's error says "must be after", so: no."""

    backdated_usage: bool = True
    """Whether a subscription backdated without an anchor takes usage from its start date on (its first period then starts there) or only
    from its creation on. Stripe documents the invoice of such a subscription, not its usage."""

    hold_ms: int = 400
    """Milliseconds that the fault `hold` keeps a key in use after the connection broke; long enough for a retry to meet the 409."""

    delay_ms: int = 250
    """Milliseconds that the fault `delay` waits before the effect."""

    # billing
    clock_advance_s: float = 0.0
    """Seconds, on the sandbox's clock, that a test clock stays advancing before anything happens on it. Stripe names no time."""

    clock_customers: int = 3
    """Most customers on one test clock."""

    clock_subscriptions: int = 3
    """Most subscriptions of one customer on a test clock."""

    finalization_grace_s: int = 3600
    """Seconds that the draft of a period's invoice waits before it is finalised; Stripe: an hour unless the account says up to 72 hours."""

    finalization_waits_s: int = 0
    """How long after its creation a draft waits at most for its invoice.created to be answered, before its grace of an hour begins; 0: it does not
    wait. Stripe: up to 72 hours. The webhooks of the sandbox go out in real time while its clock may jump by months, so by default it does not.
    Customers on test clocks never wait."""

    upcoming_s: int = 7 * 86_400
    """How long before a period's end invoice.upcoming says so; 0 never. An account setting at Stripe."""

    tier_lines: bool = True
    """Whether each graduated tier that a quantity reaches has a line of its own, or all of them share one."""

    tier_flat_at_zero: bool = True
    """Whether a quantity of 0 owes the first tier's flat amount."""

    trial_usage_billed: bool = False
    """Whether what is used during a trial is billed when it ends."""

    legacy_switch_keeps_usage: bool = False
    """Whether usage records from before a price switch are billed at the new price, instead of not at all."""

    payment_method_needed: bool = False
    """Whether a customer without a payment method cannot pay. At Stripe it cannot; here most tests have none and want to be paid."""

    payment_retry_days: str = "3,5,7"
    """Days after which a failed payment is tried again: from the first to the second try, and so on. An account setting at Stripe."""

    after_retries: str = "canceled"
    """What a subscription becomes when the last retry has failed: canceled, unpaid or past_due. An account setting at Stripe."""

    # events and webhooks
    events_kept_s: int = 30 * 86_400
    """Seconds, on the sandbox's clock, for which an event is kept."""

    webhook_retries: int = 3
    """How often a webhook that was not answered 2xx is sent again. Stripe: three times in a sandbox, for up to three days in live mode."""

    webhook_retry_s: float = 1800.0
    """Seconds, on the sandbox's clock, before the first retry; each further pause is twice as long. Stripe says "over a few hours"."""

    webhook_retry_longest_s: float = 86_400.0
    """Seconds, on the sandbox's clock, that no pause exceeds. Stripe names no limit; with its three retries none is reached."""

    webhook_timeout_s: float = 10.0
    """How long an answer to a webhook may take, in real seconds. Stripe names no time ("quickly")."""

    webhook_delay_s: float = 0.0
    """Seconds, on the sandbox's clock, that each webhook waits before it is sent for the first time."""

    webhook_shuffle_s: float = 0.0
    """Seconds, on the sandbox's clock, of which each webhook waits a further part drawn by seed, so that order is lost; Stripe promises none."""

    webhook_copies: float = 0.0
    """Share of the webhooks that are sent twice. Stripe says that it may happen."""

    webhook_forged: float = 0.0
    """Share of the posts that are signed with a secret of somebody else; the next attempt at the same webhook draws anew."""

    webhook_seed: int = 0
    """Of what is drawn for webhooks."""

    webhook_anywhere: bool = False
    """Whether webhooks may go to other machines than this one; over there a test would be a stranger's event."""

    webhook_host: str = ""
    """One other machine that webhooks may go to: that of the receiver that the sandbox was started with, in a network of containers."""

    # meters
    meter_delay_s: float = 0.0
    """Seconds, on the sandbox's clock, between the 200 for a meter event (or its cancellation) and its being judged and counted. Stripe
    says "asynchronously" and names no time; 0 counts at once."""

    meter_sync_checks: bool = True
    """Whether a meter event for no active meter, or with a timestamp out of range, is refused in the call (as seen in the field) or
    answered 200 and reported afterwards (Stripe documents codes for both)."""

    meter_past_s: int = 35 * 86_400
    """How old a meter event may be, in seconds. Stripe says "35 calendar days"; this is the stricter reading."""

    meter_future_s: int = 300
    """How far ahead of its customer's now a meter event may be, in seconds."""

    meter_identifier_s: int = 86_400
    """Seconds, on the sandbox's clock, for which an identifier is taken. Stripe says "at least 24 hours"."""

    meter_identifier_by_name: bool = False
    """Whether two meters (event names) may use one identifier at the same time; Stripe does not say, so: no."""

    meter_exponents: bool = False
    """Whether a meter event's value may be written with an exponent (1e3). Stripe does not say."""

    meter_no_value_code: str = "meter_event_invalid_value"
    """Code of the asynchronous error for a payload without a value; older pages have meter_event_value_not_found."""

    meter_report_s: int = 10
    """Length in seconds of the window in which asynchronous errors are collected into one thin event; 10 in Stripe's samples."""

    meter_report_samples: int = 10
    """Most sample errors of one code in one thin event; Stripe says "a list of sample errors"."""

    meter_cancel_s: int = 86_400
    """Seconds after its receipt for which a meter event may be canceled."""

    meter_name_kept: bool = False
    """Whether a deactivated meter keeps its event name from others, as one report says."""

    meter_one_at_a_time: bool = True
    """Whether a second meter event for a customer and meter is refused while one is executing."""

    meter_calls_per_second: float = 1000.0
    """Meter events a second before 429; Stripe: 1,000 live."""

    meter_calls_counted: bool = False
    """Whether meter events also count against `calls_per_second`: at Stripe not in live mode, but in a sandbox."""

    summaries_empty: bool = True
    """Whether grouped event summaries list the hours or days without events, with 0."""

    summaries_newest_first: bool = True
    """The order of grouped event summaries, as of all of Stripe's lists."""


def turned(knobs: Knobs, texts: Mapping[str, str]) -> Knobs:
    """`knobs` with some of them given as text, as a command line has them; `usage_records=25` style limits are not among them."""
    standing = {each.name: getattr(knobs, each.name) for each in fields(knobs) if each.name != "endpoint_calls_per_second"}
    changes: dict[str, Any] = {}
    for name, text in texts.items():
        if name not in standing:
            raise UsageError(f"unknown knob {name}: choose from {', '.join(standing)}")
        changes[name] = _read(name, text, standing[name])
    return replace(knobs, **changes)


def _read(name: str, text: str, standing: object) -> object:
    if isinstance(standing, str):
        return text
    try:
        if isinstance(standing, bool):
            return {"true": True, "false": False}[text]
        number = int(text) if isinstance(standing, int) else float(text)
    except (KeyError, ValueError) as error:
        raise UsageError(f"{name}={text} cannot be read: it is {standing} by default") from error
    if not 0 <= number < 1e12:
        raise UsageError(f"{name}={text} is no sensible value")
    return number
