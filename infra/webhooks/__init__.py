"""Receives Stripe's webhooks: what happens to subscriptions, invoices and test clocks comes into the log as control records."""
