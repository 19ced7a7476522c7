"""A delivery is believed only with a fresh signature over its very bytes by one of our secrets."""

from __future__ import annotations

import pytest
import stripe

from infra.webhooks.signature import TOLERANCE_S, refusal_of, secrets_of

NOW_S = 1_795_219_200
OLD, NEW = "whsec_" + "old", "whsec_" + "new"
BODY = '{"id": "evt_1", "note": "ünï 顧客"}'.encode()


def signed(*secrets: str, body: bytes = BODY, at_s: int = NOW_S) -> str:
    """The header that Stripe would send, with a signature for each secret."""
    headers = [stripe.WebhookSignature.generate_signature_header(body.decode(), secret, at_s) for secret in secrets]
    return ",".join([headers[0], *(header.split(",", 1)[1] for header in headers[1:])])


@pytest.mark.parametrize(("secrets", "known"), [((OLD,), (OLD,)), ((OLD, NEW), (NEW,)), ((OLD, NEW), (OLD,)), ((NEW,), (OLD, NEW))])
def test_either_secret_of_a_rotation_is_enough(secrets: tuple[str, ...], known: tuple[str, ...]) -> None:
    """While a secret is rolled, Stripe signs with both, or we know both: one that fits is enough."""
    assert refusal_of(BODY, signed(*secrets), known, NOW_S) is None


def test_another_secret_or_another_byte_is_refused() -> None:
    """A signature by a secret that is not ours, over other bytes, or cut short is wrong."""
    assert refusal_of(BODY, signed("whsec_" + "other"), (OLD, NEW), NOW_S) == "wrong_signature"
    assert refusal_of(BODY + b" ", signed(OLD), (OLD,), NOW_S) == "wrong_signature"
    assert refusal_of(BODY, signed(OLD)[:-1], (OLD,), NOW_S) == "wrong_signature"
    assert refusal_of(b"\xff" + BODY, signed(OLD), (OLD,), NOW_S) == "wrong_signature"
    assert refusal_of(BODY, signed(OLD).replace(f"t={NOW_S}", f"t={NOW_S + 1}"), (OLD,), NOW_S) == "wrong_signature"


@pytest.mark.parametrize(("age_s", "refusal"), [(TOLERANCE_S, None), (TOLERANCE_S + 1, "too_old"), (-3600, None)])
def test_a_signature_has_its_time(age_s: int, refusal: str | None) -> None:
    """It may be as old as the tolerance and no older; one ahead of our clock passes, as in Stripe's own libraries."""
    assert refusal_of(BODY, signed(OLD, at_s=NOW_S - age_s), (OLD,), NOW_S) == refusal


@pytest.mark.parametrize("header", [None, "", "v1=abc", "t=x,v1=abc", "t=1,t=2,v1=abc", "t=" + "9" * 40 + ",v1=abc", "t=１,v1=abc"])
def test_a_header_that_is_none_is_said_as_such(header: str | None) -> None:
    """Without a header, without a time in it, or with two, there is no signature."""
    assert refusal_of(BODY, header, (OLD,), NOW_S) == "no_signature"


def test_without_a_secret_nothing_is_believed() -> None:
    """A receiver that was given no secret refuses everything."""
    assert refusal_of(BODY, signed(OLD), (), NOW_S) == "no_secret"
    assert secrets_of(None) == secrets_of(" , ") == ()
    assert secrets_of(f"{OLD}, {NEW},") == (OLD, NEW)
