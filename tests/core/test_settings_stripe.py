"""The Stripe side of a configuration: contradictions are found in the file alone, keys never cross a network in the clear."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.settings import load_settings
from infra.settings_rules import warnings
from infra.settings_stripe import terms_of
from sinks.stripe.suitability import Terms
from topics.errors import ConfigurationFault

METER = '[[meters]]\nslug = "api_calls"\nevent_type = "api.request"\n'
OTHER = '[[meters]]\nslug = "b"\nevent_type = "api.request"\n'
ITEM = '[[customers]]\nid = "acme"\n[[customers.items]]\nmeter = "api_calls"\nstripe_subscription_item = "si_1"\n'


def faults(tmp_path: Path, text: str) -> dict[str, str]:
    """Place → sentence of every fault of that text."""
    path = tmp_path / "tidemark.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationFault) as caught:
        load_settings(path, {})
    return {fault.place: f"{fault.problem}. {fault.remedy}" for fault in caught.value.faults}


STRIPE_FAULTS = (
    ('[stripe]\napi_base = "http://stripe.example"\n', "stripe.api_base", "plain_http"),
    ('[stripe]\nbase_price = "price_1"\nbase_amount = 5\n', "stripe.base_amount", "base_price"),
    ("[stripe]\nbase_amount = 1.5\n", "stripe.base_amount", "string"),
    ('[stripe]\ngate = "held"\n', "stripe.gate", "hold"),
    ("[stripe]\ngate = true\n", "stripe.gate", "off"),
    (METER + 'stripe_aggregation = "hour"\n', "meters[0].stripe_aggregation", "usage records"),
    (METER + 'stripe_mode = "meters"\nstripe_aggregation = "hour"\nwindow = "1d"\n', "meters[0].stripe_aggregation", "longer than the hour"),
    (METER + 'stripe_price = "price_1"\nunit_amount = "2"\n', "meters[0].unit_amount", "amount of its own"),
    (METER + 'fractions = "exact"\n', "meters[0].fractions", "whole units"),
    (METER + 'scale = "0.0"\n', "meters[0].scale", "report nothing"),
    (METER + 'stripe_mode = "meters"\nlate = "next_period"\n', "meters[0].late", "usage records"),
    (METER + 'stripe_mode = "meters"\n' + ITEM + 'late = "next_period"\n', "customers[0].items[0].late", "usage records"),
    (METER + 'late = "never"\n', "meters[0].late", "invoice_item"),
    (METER + ITEM + 'fractions = "exact"\n', "customers[0].items[0].fractions", "whole units"),
    (METER + 'stripe_price = "price_1"\n' + OTHER + 'stripe_price = "price_1"\n', "meters", "2 meters name the price"),
    (METER + 'stripe_mode = "meters"\nstripe_event_name = "b"\n' + OTHER + 'stripe_mode = "meters"\n', "meters", "2 meters send the meter event"),
)


@pytest.mark.parametrize(("text", "place", "word"), STRIPE_FAULTS)
def test_what_would_bill_wrongly_is_a_fault_before_stripe_is_asked(tmp_path: Path, text: str, place: str, word: str) -> None:
    """Contradictions of the Stripe side are found in the file alone, each with its place."""
    assert word in faults(tmp_path, text)[place]


def test_a_live_key_never_goes_over_plain_http(tmp_path: Path) -> None:
    """`plain_http` allows a sandbox on a network of one's own; with a live key it allows nothing, and this machine itself is no network."""
    path = tmp_path / "tidemark.toml"
    path.write_text('[stripe]\napi_base = "http://sandbox:12111"\nplain_http = true\n')
    assert load_settings(path, {"STRIPE_API_KEY": "sk_" + "test_x"}).stripe.plain_http
    for key in ("sk_" + "live_x", "rk_" + "live_x"):
        with pytest.raises(ConfigurationFault, match="unencrypted"):
            load_settings(path, {"STRIPE_API_KEY": key})
    for host in ("127.0.0.1:9", "localhost:9", "[::1]:9"):
        path.write_text(f'[stripe]\napi_base = "http://{host}"\n')
        assert load_settings(path, {"STRIPE_API_KEY": "sk_" + "test_x"}).stripe.api_base.endswith(":9")


def test_two_modes_side_by_side(tmp_path: Path) -> None:
    """In the middle of a migration one event type has a legacy meter and one on a Billing Meter, each with its own terms for the sink."""
    path = tmp_path / "tidemark.toml"
    path.write_text(
        METER + OTHER + 'stripe_mode = "meters"\nstripe_event_name = "calls"\nstripe_aggregation = "hour"\nstripe_price = "price_2"\nscale = "0.5"\n'
    )
    legacy, metered = terms_of(load_settings(path, {}))
    assert legacy == Terms("api_calls")
    assert metered == Terms("b", "meters", "hour", "price_2", "", "calls", 3600, "0.5", "exact")


def test_policies_for_adjustments_are_taken(tmp_path: Path) -> None:
    """A meter and an item may each say what becomes of what comes too late; a credit note without webhooks is worth a word."""
    path = tmp_path / "tidemark.toml"
    path.write_text(METER + 'late = "credit_note"\n' + ITEM + 'late = "invoice_item"\n')
    settings = load_settings(path, {})
    assert (settings.meters[0].late, settings.customers[0].items[0].late) == ("credit_note", "invoice_item")
    path.write_text(METER + 'late = "next_period"\n')
    assert load_settings(path, {}).meters[0].late == "next_period"
    assert any("credit_note" in warning and "STRIPE_WEBHOOK_SECRET" in warning for warning in warnings(settings))
    told = load_settings(path, {"STRIPE_WEBHOOK_SECRET": "whsec_x"})
    assert not any("credit_note" in warning for warning in warnings(told))
