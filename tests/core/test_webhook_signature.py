"""Webhook signatures: what Stripe signed passes for five minutes, and nothing else ever does."""

from __future__ import annotations

import random

import pytest
import stripe

from infra.sandbox.webhook_signing import signed
from infra.webhooks.limiter import ALLOWED, BadSignatures
from infra.webhooks.receiver import Receiver
from infra.webhooks.signature import TOLERANCE_S, judged, secrets_of

BODY = b'{"id":"evt_1","object":"event"}'
SECRET, OLD, OTHER = "whsec_new", "whsec_old", "whsec_other"
NOW_S = 1_800_000_000


def test_what_was_signed_passes_until_the_tolerance_is_over() -> None:
    """A signature passes at its own second and 300 seconds later, and not a second after that."""
    header = signed(BODY, [SECRET], NOW_S)
    assert judged(BODY, header, [SECRET], NOW_S) == "right"
    assert judged(BODY, header, [SECRET], NOW_S + TOLERANCE_S) == "right"
    assert judged(BODY, header, [SECRET], NOW_S + TOLERANCE_S + 1) == "stale"
    assert judged(BODY, header, [SECRET], NOW_S - 86_400) == "right"


def test_every_changed_byte_is_found() -> None:
    """Any one byte of the body, or of the second in the header, that differs makes the signature wrong."""
    header = signed(BODY, [SECRET], NOW_S)
    for place in range(len(BODY)):
        tampered = bytearray(BODY)
        tampered[place] ^= 1
        assert judged(bytes(tampered), header, [SECRET], NOW_S) == "wrong"
    assert judged(BODY + b" ", header, [SECRET], NOW_S) == "wrong"
    assert judged(BODY, header.replace(f"t={NOW_S}", f"t={NOW_S + 1}"), [SECRET], NOW_S) == "wrong"


def test_either_secret_of_a_rotation_verifies() -> None:
    """While a secret is rolled the header has two signatures or the receiver two secrets, and one pair that fits is enough."""
    both = signed(BODY, [SECRET, OLD], NOW_S)
    assert {judged(BODY, both, [secret], NOW_S) for secret in (SECRET, OLD)} == {"right"}
    assert judged(BODY, signed(BODY, [OLD], NOW_S), [SECRET, OLD], NOW_S) == "right"
    assert judged(BODY, both, [OTHER], NOW_S) == "wrong"
    assert judged(BODY, both, [], NOW_S) == "wrong"


@pytest.mark.parametrize(
    ("header", "verdict"),
    [
        (None, "missing"),
        ("", "missing"),
        ("v1=00", "malformed"),
        (f"t={NOW_S}", "malformed"),
        ("t=now,v1=00", "malformed"),
        (f"t=-{NOW_S},v1=00", "malformed"),
        (f"t={NOW_S},v1=00," + "x" * 5000, "malformed"),
        (f"t={NOW_S},v0=" + "0" * 64, "malformed"),
        (f"t={NOW_S},v1=", "wrong"),
        (f"t={NOW_S},v1=\u00e9", "wrong"),
        ("t=٣,v1=00", "malformed"),
    ],
)
def test_what_is_no_signature_is_named(header: str | None, verdict: str) -> None:
    """A header that is missing, cut, of another scheme or of other letters is refused without an exception."""
    assert judged(BODY, header, [SECRET], NOW_S) == verdict


def test_we_judge_as_the_official_client_does() -> None:
    """Over 400 headers, right, stale, tampered and of other secrets, our verdict is that of Stripe's own library."""
    draw = random.Random(5)
    for _ in range(400):
        second = NOW_S - draw.choice((0, 1, 250))
        header = signed(BODY, draw.sample([SECRET, OLD, OTHER], draw.randint(1, 3)), second)
        if draw.random() < 0.3:
            place = draw.randrange(len(header))
            header = header[:place] + draw.choice("0123456789abcdef,=tv") + header[place + 1 :]
        try:
            theirs = stripe.WebhookSignature.verify_header(BODY, header, SECRET, tolerance=None)
        except (stripe.SignatureVerificationError, ValueError):
            theirs = False
        assert (judged(BODY, header, [SECRET], NOW_S) in {"right", "stale"}) == theirs, header


def test_secrets_are_listed_with_commas() -> None:
    """Several secrets stand with commas between them; blanks and empty parts are nothing."""
    assert secrets_of(" whsec_a, whsec_b ,,") == ("whsec_a", "whsec_b")
    assert secrets_of("") == ()


def test_wrong_signatures_run_into_a_limit_and_out_again() -> None:
    """Sixty wrong signatures are within bounds, more at once are not, and a minute later sixty are again."""
    bucket = BadSignatures()
    assert [bucket.allows(100.0) for _ in range(ALLOWED + 5)] == [True] * ALLOWED + [False] * 5
    assert [bucket.allows(101.0) for _ in range(2)] == [True, False]
    assert [bucket.allows(161.1) for _ in range(ALLOWED + 1)] == [True] * ALLOWED + [False]


def test_secrets_are_in_no_repr() -> None:
    """A receiver that is printed shows no secret."""
    assert SECRET not in repr(Receiver(None, (SECRET,)))
