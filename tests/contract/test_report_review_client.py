"""The Stripe client where the answer is not Stripe's, the item is gone, or the key is none: nothing is parked by mistake, no secret said."""

from __future__ import annotations

from typing import Any

import pytest

from sinks.outcomes import Answer, RetryAfter, Wanted, outcome_of
from sinks.stripe.client import StripeAccess
from sinks.stripe.refusal import StripeRefusal
from topics.errors import Unreachable, UsageError


@pytest.mark.parametrize("key", ["sk_test_canary\n", " sk_test_canary", "sk_test_can ary", "sk_test_canary\x00", "sk_test_canary…"])
def test_a_key_that_is_none_is_refused_without_being_said(key: str) -> None:
    """A key with a blank, a line's end or a strange character is refused before the HTTP library could repeat it in an error."""
    with pytest.raises(UsageError) as refused:
        StripeAccess("http://127.0.0.1:9", key)
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    ("error", "gone"),
    [
        (StripeRefusal(404, "resource_missing", "No such subscription_item"), True),
        (StripeRefusal(401, "", "Invalid API Key"), False),
        (StripeRefusal(500, "", "sorry"), False),
        (Unreachable("away"), False),
    ],
)
def test_only_an_item_that_is_gone_has_no_totals(error: Exception, gone: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reading back of an item that is gone is an answer (nothing is there); of an account that is not reachable it is none."""

    def pages(_self: StripeAccess, _path: str) -> list[dict[str, Any]]:
        raise error

    monkeypatch.setattr(StripeAccess, "pages", pages)
    found = StripeAccess("http://127.0.0.1:9", "sk_test_1").summaries("si_1", 0)
    assert found == [] if gone else isinstance(found, RetryAfter) and found.down


@pytest.mark.parametrize("status", [301, 404, 405, 407])
def test_a_stranger_parks_nothing(status: int) -> None:
    """A page of a proxy or of a wrong base address refuses no cell: it counts as the provider being away."""
    outcome = outcome_of(Answer(status, "<html>404 Not Found</html>"), Wanted("si_1", 1, 1))
    assert isinstance(outcome, RetryAfter) and outcome.down and not outcome.spent
