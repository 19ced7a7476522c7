"""The order of the sandbox's layers and what is saved under an idempotency key."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from infra.sandbox.engine import Admitted, Request
from infra.sandbox.faults import Plan
from infra.sandbox.knobs import Knobs
from tests.contract.sandbox_driver import KEY, Driver

DAY_S = 86_400


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Driver]:
    """A fresh sandbox."""
    with Driver(tmp_path) as driver:
        yield driver


@pytest.fixture
def item(sandbox: Driver) -> str:
    """A metered item."""
    return sandbox.subscribed(sandbox.metered_price())[1]


def test_a_replay_is_the_first_answer(sandbox: Driver, item: str) -> None:
    """The same request again gets the same bytes, says so, names the first request, and has no second effect."""
    at = sandbox.now - 60
    first = sandbox.use(item, key="k", quantity=5, timestamp=at)
    again = sandbox.use(item, key="k", quantity=5, timestamp=at)
    assert again.json == first.json
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Original-Request"] == first.headers["Request-Id"] != again.headers["Request-Id"]
    assert again.headers["Idempotency-Key"] == first.headers["Idempotency-Key"] == "k"
    assert "Idempotent-Replayed" not in first.headers
    assert sandbox.cells(item) == {at: 5}


def test_other_parameters_and_other_endpoints_are_errors(sandbox: Driver, item: str) -> None:
    """A used key with another body or another URL is 400 idempotency_error, and the cell keeps the first quantity."""
    at = sandbox.now - 60
    sandbox.use(item, key="k", quantity=5, timestamp=at)
    other = sandbox.use(item, key="k", quantity=6, timestamp=at)
    elsewhere = sandbox.post("/v1/customers", {}, key="k")
    assert [(r.status, r.error["type"]) for r in (other, elsewhere)] == [(400, "idempotency_error")] * 2
    assert sandbox.cells(item) == {at: 5}


def test_refusals_while_executing_are_saved(sandbox: Driver, item: str) -> None:
    """A refused timestamp or an unknown item is replayed even after its cause is gone: a new attempt needs a new key."""
    early = sandbox.now - 2 * DAY_S
    refused = sandbox.use(item, key="k", quantity=1, timestamp=early)
    assert refused.status == 400
    assert sandbox.use(item, key="k", quantity=1, timestamp=early).headers["Idempotent-Replayed"] == "true"
    assert sandbox.use("si_none", key="k2", quantity=1).status == 404
    assert sandbox.use("si_none", key="k2", quantity=1).headers["Idempotent-Replayed"] == "true"


def test_refused_parameters_are_not_saved(sandbox: Driver, item: str) -> None:
    """A call refused for its parameters leaves the key free for the corrected call."""
    at = sandbox.now - 60
    assert sandbox.use(item, key="k", quantity="x", timestamp=at).status == 400
    assert sandbox.use(item, key="k", quantity=5, timestamp=at).status == 200


def test_parameters_come_before_the_key(sandbox: Driver, item: str) -> None:
    """A used key with impossible parameters is refused for the parameters."""
    at = sandbox.now - 60
    sandbox.use(item, key="k", quantity=5, timestamp=at)
    assert sandbox.use(item, key="k", quantity=-5, timestamp=at).error["code"] == "parameter_invalid_integer"


def test_keys_are_forgotten_after_a_day(sandbox: Driver, item: str) -> None:
    """Once 24 hours have passed on the sandbox's clock the same key executes again; until then it replays."""
    at = sandbox.now - 60
    sandbox.use(item, key="k", quantity=5, timestamp=at)
    sandbox.engine.clock.set(sandbox.now + DAY_S - 5)
    assert sandbox.use(item, key="k", quantity=5, timestamp=at).headers["Idempotent-Replayed"] == "true"
    sandbox.engine.clock.set(sandbox.now + 10)
    again = sandbox.use(item, key="k", quantity=5, timestamp=at)
    assert (again.status, "Idempotent-Replayed" in again.headers) == (200, False)
    assert sandbox.cells(item) == {at: 10}


def test_pruning_removes_only_what_is_past_its_time(sandbox: Driver, item: str) -> None:
    """The housekeeping forgets expired answers and keeps the others."""
    sandbox.use(item, key="old", quantity=1)
    sandbox.engine.clock.set(sandbox.now + DAY_S + 10)
    sandbox.use(item, key="new", quantity=1)
    sandbox.engine.keep()
    assert sandbox.store.answer("old") is None
    assert sandbox.store.answer("new") is not None


def test_a_key_in_use_is_refused_and_then_replays(sandbox: Driver, item: str) -> None:
    """While the first request executes, the same key is 409, whatever its body; afterwards it replays."""
    at = sandbox.now - 60
    params = {"quantity": 5, "timestamp": at}
    url = f"/v1/subscription_items/{item}/usage_records"
    first = sandbox.engine.admit(sandbox.request("POST", url, params, key="k"))
    assert isinstance(first, Admitted)
    for quantity in (5, 6):
        held = sandbox.use(item, key="k", quantity=quantity, timestamp=at)
        assert (held.status, held.error["code"]) == (409, "idempotency_key_in_use")
    assert sandbox.finish(first).status == 200
    assert sandbox.use(item, key="k", quantity=5, timestamp=at).headers["Idempotent-Replayed"] == "true"


def test_an_abandoned_request_frees_its_key(sandbox: Driver, item: str) -> None:
    """A request that never executes does not block its key."""
    request = sandbox.request("POST", f"/v1/subscription_items/{item}/usage_records", {"quantity": 5}, key="k")
    first = sandbox.engine.admit(request)
    assert isinstance(first, Admitted)
    sandbox.engine.abandon(first)
    assert sandbox.use(item, key="k", quantity=5).status == 200


@pytest.mark.parametrize(("fault", "stands"), [("500", False), ("500_effect", True)])
def test_a_saved_500_is_replayed(tmp_path: Path, fault: str, stands: bool) -> None:
    """A 500 says nothing about its effect, and is replayed for a day; a new key gets through."""
    with Driver(tmp_path) as sandbox:
        _, item = sandbox.subscribed(sandbox.metered_price())
        at = sandbox.now - 60
        sandbox.engine.plan = Plan(1, {fault: 1.0})
        assert sandbox.use(item, key="k", quantity=5, timestamp=at).status == 500
        sandbox.engine.plan = Plan()
        again = sandbox.use(item, key="k", quantity=5, timestamp=at)
        assert (again.status, again.headers["Idempotent-Replayed"]) == (500, "true")
        assert again.error["type"] == "api_error"
        assert sandbox.cells(item) == ({at: 5} if stands else {})
        assert sandbox.use(item, key="k2", quantity=5, timestamp=at, action="set").status == 200


@pytest.mark.parametrize(("fault", "status"), [("429", 429), ("503", 503), ("409", 409)])
def test_unsaved_faults_leave_the_key_free(tmp_path: Path, fault: str, status: int) -> None:
    """After 429, 503 and 409 the same key and body execute as if for the first time."""
    with Driver(tmp_path) as sandbox:
        _, item = sandbox.subscribed(sandbox.metered_price())
        at = sandbox.now - 60
        sandbox.engine.plan = Plan(1, {fault: 1.0})
        hit = sandbox.use(item, key="k", quantity=5, timestamp=at)
        assert (hit.status, hit.headers.get("Stripe-Rate-Limited-Reason")) == (status, "endpoint-rate" if fault == "429" else None)
        sandbox.engine.plan = Plan()
        after = sandbox.use(item, key="k", quantity=5, timestamp=at)
        assert (after.status, "Idempotent-Replayed" in after.headers) == (200, False)


def test_the_limiter_comes_before_everything_but_the_key(tmp_path: Path) -> None:
    """Above the rate even a replay is 429, and a call without API key is 401 rather than 429."""
    with Driver(tmp_path, knobs=Knobs(calls_per_second=2)) as sandbox:
        assert [sandbox.post("/v1/customers", {}, key="k").status for _ in range(3)] == [200, 200, 429]
        assert sandbox.get("/v1/customers", authorization="").status == 401


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {KEY}", 200),
        (f"bearer  {KEY}", 200),
        ("Basic " + base64.b64encode(f"{KEY}:".encode()).decode(), 200),
        ("Bearer sk_test_other", 401),
        ("Bearer", 401),
        ("", 401),
        ("Digest x", 401),
        ("Basic !!!", 401),
    ],
)
def test_only_the_key_opens(sandbox: Driver, authorization: str, status: int) -> None:
    """Bearer or Basic with the one key is let in; everything else is 401, and the key is never repeated in an answer."""
    reply = sandbox.get("/v1/customers", authorization=authorization)
    assert reply.status == status
    assert "sk_test_other" not in str(reply.json)


def test_without_a_configured_key_every_test_key_opens_and_no_live_key(sandbox: Driver) -> None:
    """A sandbox without a key of its own takes any `sk_test_` key and still refuses a live one."""
    sandbox.engine.api_key = None
    assert sandbox.get("/v1/customers", authorization="Bearer sk_test_anything").status == 200
    assert sandbox.get("/v1/customers", authorization="Bearer sk_live_anything").status == 401


@pytest.mark.parametrize("version", ["2025-03-31.basil", "2026-10-28.endive"])
def test_newer_versions_have_no_usage_records(sandbox: Driver, item: str, version: str) -> None:
    """From 2025-03-31.basil on both legacy URLs are unknown, and metered prices without a meter can neither be made nor subscribed to."""
    for method, tail in (("POST", "usage_records"), ("GET", "usage_record_summaries")):
        gone = sandbox.call(method, f"/v1/subscription_items/{item}/{tail}", {"quantity": 1}, stripe_version=version)
        assert gone.status == 404
        assert gone.error["message"].startswith(f"Unrecognized request URL ({method}: /v1/subscription_items/{item}/{tail}).")
        assert gone.headers["Stripe-Version"] == version
    metered = {"currency": "usd", "unit_amount": 1, "product_data[name]": "x", "recurring[interval]": "month", "recurring[usage_type]": "metered"}
    refused = sandbox.post("/v1/prices", metered, stripe_version=version)
    assert refused.error["message"] == "Starting with Stripe version `2025-03-31.basil`, metered prices must be backed by meters."
    assert sandbox.post("/v1/prices", {**metered, "recurring[meter]": sandbox.meter()}, stripe_version=version).status == 200
    params = {"customer": sandbox.made("/v1/customers", {})["id"], "items[0][price]": sandbox.metered_price()}
    assert sandbox.post("/v1/subscriptions", params, stripe_version=version).status == 400


def test_the_account_version_is_newer_than_usage_records(sandbox: Driver, item: str) -> None:
    """A caller that forgets to pin its version finds no usage records, as on a new account."""
    request = sandbox.request("POST", f"/v1/subscription_items/{item}/usage_records", {"quantity": 1})
    del request.headers["stripe-version"]
    reply = sandbox.finish(sandbox.engine.admit(request))
    assert (reply.status, reply.headers["Stripe-Version"]) == (404, Knobs().default_version)


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/nothing", "/v1/customers/", "/v2/customers", "/v1/customers/a/b/c", "/", "/v1/charges"])
def test_unknown_urls(sandbox: Driver, path: str) -> None:
    """A URL that the sandbox does not have is Stripe's 404, not the HTTP library's."""
    reply = sandbox.get(path)
    assert (reply.status, reply.error["type"]) == (404, "invalid_request_error")
    assert reply.headers["Request-Id"].startswith("req_")


def test_json_bodies_are_refused(sandbox: Driver) -> None:
    """A body that is no form is refused with Stripe's hint at the content type."""
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    reply = sandbox.finish(sandbox.engine.admit(Request("POST", "/v1/customers", "", headers, b'{"name":"x"}', 0.0)))
    assert reply.status == 400
    assert "application/x-www-form-urlencoded" in reply.error["message"]


def test_a_failure_of_the_sandbox_itself_saves_nothing(sandbox: Driver, item: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the sandbox breaks while executing, effect and key are rolled back together, and the retry succeeds."""
    at = sandbox.now - 60
    save = sandbox.store.save_answer

    def broken(_: object) -> None:
        raise RuntimeError("disk full")

    monkeypatch.setattr(sandbox.store, "save_answer", broken)
    assert sandbox.use(item, key="k", quantity=5, timestamp=at).status == 500
    assert sandbox.cells(item) == {}
    monkeypatch.setattr(sandbox.store, "save_answer", save)
    assert sandbox.use(item, key="k", quantity=5, timestamp=at).status == 200


def test_parameters_may_stand_in_the_query_of_a_post(sandbox: Driver, item: str) -> None:
    """Query and body of a POST are one form, and a key knows both."""
    url, body = f"/v1/subscription_items/{item}/usage_records", urlencode({"quantity": 5}).encode()
    headers = sandbox.request("POST", url, key="k").headers
    at = sandbox.now - 60
    first = sandbox.finish(sandbox.engine.admit(Request("POST", url, f"timestamp={at}", headers, body, 0.0)))
    assert first.json["timestamp"] == at
    other = sandbox.finish(sandbox.engine.admit(Request("POST", url, f"timestamp={at + 1}", headers, body, 0.0)))
    assert other.error["type"] == "idempotency_error"
