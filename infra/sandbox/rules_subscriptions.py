"""The rules of a subscription's life: trials, changes in mid-period, pauses, cancellation, billing modes."""

from __future__ import annotations

from infra.sandbox.rule import assumed, documented

OVERVIEW = "https://docs.stripe.com/billing/subscriptions/overview"
TRIALS = "https://docs.stripe.com/billing/subscriptions/trials"
PRORATIONS = "https://docs.stripe.com/billing/subscriptions/prorations"
CANCEL = "https://docs.stripe.com/billing/subscriptions/cancel"
PAUSE = "https://docs.stripe.com/billing/subscriptions/pause-payment"
USAGE_CHANGES = "https://docs.stripe.com/billing/subscriptions/usage-based/manage-billing-setup"
MODES = "https://docs.stripe.com/billing/subscriptions/billing-mode"

SUBSCRIPTION_RULES = (
    documented("subscriptions.first_payment", "incomplete until the first invoice is paid, incomplete_expired and void after 23 hours", OVERVIEW),
    documented(
        "subscriptions.payment_behavior",
        "allow_incomplete tries at once, default_incomplete waits, error_if_incomplete answers 402",
        "https://docs.stripe.com/api/subscriptions/create",
    ),
    documented("trials.params", "trial_end or trial_period_days, not both", "https://docs.stripe.com/api/subscriptions/create"),
    documented("trials.end", "a trial ends in the future, at most two years ahead; its end is the new anchor", TRIALS),
    assumed("trials.anchor", "a trial is not combined with a backdated start or an anchor", "not implemented, so refused"),
    documented("trials.notice", "trial_will_end comes three days before the end, or at once", TRIALS),
    documented("trials.missing", "without a payment method the trial ends with an invoice, a pause or a cancellation, as trial_settings say", TRIALS),
    assumed("trials.usage", "what is used in a trial is on a line of 0", "Stripe does not say", "trial_usage_billed"),
    documented("subscriptions.resume", "a subscription that is paused has no invoices; resuming it begins a new cycle", PAUSE),
    documented(
        "subscriptions.pause_collection", "keep_as_draft, mark_uncollectible or void for its invoices until resumes_at; it stays active", PAUSE
    ),
    documented("subscriptions.cancel_now", "at once: usage not yet billed is dropped, unless invoice_now bills it and what is pending", CANCEL),
    assumed("subscriptions.cancel_grace", "that last invoice is a draft with the usual grace", "Stripe does not say", "finalization_grace_s"),
    documented("subscriptions.cancel_end", "at the period's end the last invoice has the period's usage", CANCEL),
    documented("subscriptions.cancel_at", "cancel_at is an instant in the future", "https://docs.stripe.com/api/subscriptions/update"),
    assumed("subscriptions.cancel_at_usage", "in mid-period it bills what was used and gives back the rest", "Stripe mentions the proration only"),
    documented("subscriptions.cancel_collection", "with a subscription's end its open invoices are no longer collected automatically", CANCEL),
    documented("prorations.second", "by the second, from the change to the period's end: a credit for the old, a charge for the new", PRORATIONS),
    assumed(
        "prorations.flexible", "flexible mode credits the same; it differs at Stripe where the first debit was not the current price", "one debit"
    ),
    documented("prorations.date", "proration_date lies in the current period", PRORATIONS),
    documented("prorations.behavior", "create_prorations waits for the next invoice, always_invoice bills at once, none does nothing", PRORATIONS),
    documented(
        "prorations.cycle",
        "billing_cycle_anchor=now, another interval and the beginning or end of a trial begin a new cycle, billed at once",
        PRORATIONS,
    ),
    assumed("prorations.cycle_usage", "the ended period's usage is on that invoice, which is final at once", "Stripe does not say"),
    documented(
        "usage_changes.classic",
        "classic: after a change of a meter price earlier usage is billed by nobody; an added one counts from then on",
        USAGE_CHANGES,
    ),
    documented(
        "usage_changes.flexible", "flexible: an invoice item bills what was reported by then, unless proration_behavior is none", USAGE_CHANGES
    ),
    assumed(
        "usage_changes.legacy",
        "usage records from before a change of price are billed by nobody either",
        "Stripe describes meter prices only",
        "legacy_switch_keeps_usage",
    ),
    documented("billing_mode.version", "from 2025-06-30.basil on; new subscriptions are flexible from 2025-09-30.clover on", MODES),
    documented("billing_mode.legacy", "flexible billing mode takes no legacy usage-based prices; the words are ours", MODES),
    documented("billing_mode.migrate", "a subscription migrates to flexible billing mode and never back", MODES),
    assumed("billing_mode.intervals", "one interval a subscription also in flexible billing mode", "mixed intervals are not implemented, so refused"),
)
