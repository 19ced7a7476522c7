"""Events of the sandbox: what has happened, in the versions of those who asked, kept 30 days, with what is to be sent to whom."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.sandbox import events, form, webhook_deliveries, webhook_targets
from infra.sandbox.errors import ApiError
from infra.sandbox.knobs import NEWEST_VERSION, Knobs
from tests.contract.meter_bench import tuned
from tests.contract.sandbox_driver import Driver

Json = dict[str, Any]
DAY_S = 86_400
HOOK = "http://127.0.0.1:9/hook"


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Driver]:
    """A sandbox without anything."""
    with Driver(tmp_path) as driver:
        yield driver


def happened(sandbox: Driver, event_type: str, *, thin: bool = False, at_s: float | None = None) -> str:
    """The id of an event that is made to happen."""
    now_s = sandbox.now if at_s is None else at_s
    with sandbox.store.transaction():
        if thin:
            related = {"id": "mtr_1", "type": "billing.meter", "url": "/v1/billing/meters/mtr_1"}
            return str(events.emit_thin(sandbox.store, event_type, related, {"count": 1}, now_s)["id"])
        return str(events.emit(sandbox.store, event_type, lambda version: {"id": "sub_1", "object": "subscription", "v": version}, now_s)["id"])


def endpoint(sandbox: Driver, *types: str, **more: object) -> Json:
    """A new webhook endpoint."""
    listed = {f"enabled_events[{index}]": each for index, each in enumerate(types or ("*",))}
    return dict(sandbox.made("/v1/webhook_endpoints", {"url": HOOK, **listed, **more}))


def test_events_are_listed_newest_first_and_by_type(sandbox: Driver) -> None:
    """A list pages from new to old in either direction and can be cut by a type, a group of types, several types or a span of time."""
    made = [happened(sandbox, kind, at_s=at) for at, kind in enumerate(["invoice.paid", "customer.subscription.created", "invoice.voided"], 100)]
    happened(sandbox, "v1.billing.meter.no_meter_found", thin=True)

    def ids(**params: object) -> list[str]:
        return [each["id"] for each in sandbox.get("/v1/events", params).json["data"]]

    assert ids() == made[::-1]
    assert ids(type="invoice.*") == [made[2], made[0]]
    assert ids(type="invoice.paid") == [made[0]]
    assert ids(**{"types[0]": "invoice.paid", "types[1]": "customer.subscription.created"}) == [made[1], made[0]]
    assert ids(**{"created[gt]": 100, "created[lte]": 101}) == [made[1]]
    assert ids(created=101) == [made[1]]
    assert ids(limit=1, starting_after=made[2]) == [made[1]]
    assert ids(limit=1, ending_before=made[0]) == [made[1]]
    assert sandbox.get("/v1/events", {"limit": 2}).json["has_more"] is True
    assert sandbox.get("/v1/events", {"type": "a.b", "types[]": "a.b"}).status == 400
    assert sandbox.get("/v1/events", {"starting_after": "evt_none"}).status == 400


def test_a_snapshot_keeps_the_version_that_was_wanted(sandbox: Driver) -> None:
    """An event shows its object in the account's version; an endpoint gets it in its own, as it was when it happened."""
    endpoint(sandbox, api_version="2025-02-24.acacia")
    event = happened(sandbox, "customer.subscription.created")
    shown = sandbox.get(f"/v1/events/{event}").json
    assert (shown["api_version"], shown["data"]["object"]["v"], shown["pending_webhooks"]) == (NEWEST_VERSION, NEWEST_VERSION, 1)
    body, shapes = sandbox.store.run("SELECT body, shapes FROM happened WHERE id = ?", (event,)).fetchone()
    sent = events.shaped(json.loads(body), json.loads(shapes), "2025-02-24.acacia")
    assert (sent["api_version"], sent["data"]["object"]["v"]) == ("2025-02-24.acacia", "2025-02-24.acacia")


def test_thin_events_show_their_data_only_to_who_fetches(sandbox: Driver) -> None:
    """A thin event is fetched with its data from v2 and is not among the snapshots; its webhook leaves the data out."""
    event = happened(sandbox, "v1.billing.meter.error_report_triggered", thin=True)
    fetched = sandbox.get(f"/v2/core/events/{event}").json
    assert fetched["data"] == {"count": 1}
    assert "data" not in events.notification(fetched)
    assert sandbox.get(f"/v1/events/{event}").status == 404
    assert [each["id"] for each in sandbox.get("/v2/core/events", {"object_id": "mtr_1"}).json["data"]] == [event]
    assert sandbox.get("/v2/core/events", {"object_id": "mtr_2"}).json["data"] == []
    at, later = fetched["created"], events.emit_thin(sandbox.store, "a.b", None, {}, sandbox.now + 60)["created"]
    for bounds, seen in (({"gte": at, "lt": later}, [event]), ({"gt": at, "lt": later}, []), ({"lt": at}, [])):
        listed = sandbox.get("/v2/core/events", {f"created[{name}]": bound for name, bound in bounds.items()}).json["data"]
        assert [each["id"] for each in listed] == seen
    assert sandbox.get("/v2/core/events", {"created[gt]": "yesterday"}).status == 400
    assert sandbox.get("/v2/core/events", {"created[gt]": "2026-10-28T12:00:00"}).status == 400
    assert sandbox.get("/v1/events").json["data"] == []


def test_events_are_kept_thirty_days(sandbox: Driver) -> None:
    """After 30 days of the sandbox's clock an event is gone, also one dated years ago by a test clock, but not while a webhook waits."""
    endpoint(sandbox)
    event = happened(sandbox, "invoice.paid", at_s=1_000_000)
    waiting = happened(sandbox, "invoice.paid", at_s=1_000_000)
    sandbox.engine.keep()
    (first, _) = webhook_deliveries.due(sandbox.store, sandbox.now + 1, 10)
    webhook_deliveries.answered(sandbox.store, sandbox.engine.knobs, first, delivered=True, answer="200", now_s=sandbox.now)
    sandbox.engine.clock.set(sandbox.now + 30 * DAY_S - 60)
    sandbox.engine.keep()
    assert sandbox.get(f"/v1/events/{event}").status == 200
    sandbox.engine.clock.set(sandbox.now + 120)
    sandbox.engine.keep()
    assert sandbox.get(f"/v1/events/{event}").status == 404
    assert [each["event"] for each in webhook_deliveries.shown(sandbox.store)] == [waiting]
    assert sandbox.get(f"/v1/events/{waiting}").status == 200


def test_who_wants_a_type_is_told_of_it(sandbox: Driver) -> None:
    """A delivery is planned for each enabled endpoint that asked for the type, snapshots and thin events apart, none for what came before."""
    happened(sandbox, "invoice.paid")
    wanting = endpoint(sandbox, "invoice.paid")["id"]
    endpoint(sandbox, "invoice.voided")
    off = endpoint(sandbox)["id"]
    sandbox.made(f"/v1/webhook_endpoints/{off}", {"disabled": "true"})
    thin = sandbox.made("/v2/core/event_destinations", destination())["id"]
    paid, report = happened(sandbox, "invoice.paid"), happened(sandbox, "v1.billing.meter.no_meter_found", thin=True)
    assert [(each["event"], each["endpoint"]) for each in webhook_deliveries.shown(sandbox.store)] == [(paid, wanting), (report, thin)]


def destination(**more: object) -> Json:
    """Parameters of a thin event destination."""
    return {
        "name": "errors",
        "type": "webhook_endpoint",
        "event_payload": "thin",
        "enabled_events[0]": "v1.billing.meter.error_report_triggered",
        "enabled_events[1]": "v1.billing.meter.no_meter_found",
        "webhook_endpoint[url]": HOOK,
        **more,
    }


def test_a_secret_is_shown_once(sandbox: Driver) -> None:
    """An endpoint's and a destination's secret are in the answer that makes them (there if asked for) and in no other."""
    made = endpoint(sandbox)
    assert made["secret"].startswith("whsec_")
    thin = sandbox.made("/v2/core/event_destinations", destination(**{"include[0]": "webhook_endpoint.signing_secret"}))
    assert thin["webhook_endpoint"]["signing_secret"].startswith("whsec_")
    assert thin["webhook_endpoint"]["url"] is None
    for path in (f"/v1/webhook_endpoints/{made['id']}", "/v1/webhook_endpoints", "/v2/core/event_destinations"):
        assert "whsec_" not in str(sandbox.get(path).json)
    again = sandbox.get(f"/v2/core/event_destinations/{thin['id']}", {"include[]": "webhook_endpoint.signing_secret"}).json
    assert again["webhook_endpoint"]["signing_secret"] is None


def test_endpoints_are_changed_and_deleted(sandbox: Driver) -> None:
    """What may change changes, a deleted endpoint is gone, and a version that is none is refused."""
    made = endpoint(sandbox)
    changed = sandbox.made(f"/v1/webhook_endpoints/{made['id']}", {"enabled_events[]": "invoice.paid", "description": "mine"})
    assert (changed["enabled_events"], changed["description"]) == (["invoice.paid"], "mine")
    assert sandbox.post(f"/v1/webhook_endpoints/{made['id']}", {"api_version": NEWEST_VERSION}).status == 400
    assert sandbox.call("DELETE", f"/v1/webhook_endpoints/{made['id']}").json["deleted"] is True
    assert sandbox.get(f"/v1/webhook_endpoints/{made['id']}").status == 404
    assert sandbox.post("/v1/webhook_endpoints", {"url": HOOK, "enabled_events[]": "*", "api_version": "newest"}).status == 400
    assert sandbox.post("/v2/core/event_destinations", destination(snapshot_api_version=NEWEST_VERSION)).status == 400


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1/", "127.0.0.1:80", "http://example.com/", "http://127.0.0.1.example.com/", "http://10.0.0.1/", "http://a:b@127.0.0.1/"]
)
def test_webhooks_stay_on_this_machine(sandbox: Driver, url: str) -> None:
    """Only HTTP to a loopback address is taken, unless the knob lets the sandbox out."""
    assert sandbox.post("/v1/webhook_endpoints", {"url": url, "enabled_events[]": "*"}).status == 400


def test_the_knob_lets_webhooks_out(tmp_path: Path) -> None:
    """With webhook_anywhere another machine is taken."""
    with Driver(tmp_path, knobs=tuned(webhook_anywhere=True)) as sandbox:
        assert sandbox.post("/v1/webhook_endpoints", {"url": "https://example.com/", "enabled_events[]": "*"}).status == 200


def test_retries_have_growing_pauses_and_an_end() -> None:
    """Three retries by default, each after twice the pause before."""
    knobs = Knobs()
    assert [webhook_deliveries.retry_after_s(knobs, attempts) for attempts in (1, 2, 3, 4)] == [1800.0, 3600.0, 7200.0, None]


def test_a_delivery_is_tried_until_it_is_spent(sandbox: Driver) -> None:
    """What fails is due again after its pause and never before, and given up after the last retry."""
    endpoint(sandbox)
    happened(sandbox, "invoice.paid")
    store, knobs, now_s = sandbox.store, sandbox.engine.knobs, float(sandbox.now)
    webhook_deliveries.begin(store, knobs, now_s)
    for pause_s in (1800.0, 3600.0, 7200.0):
        (delivery,) = webhook_deliveries.due(store, now_s, 10)
        assert webhook_deliveries.due(store, now_s, 10, [delivery.seq]) == []
        webhook_deliveries.answered(store, knobs, delivery, delivered=False, answer="503", now_s=now_s)
        assert webhook_deliveries.due(store, now_s + pause_s - 1, 10) == []
        now_s += pause_s
    (delivery,) = webhook_deliveries.due(store, now_s, 10)
    webhook_deliveries.answered(store, knobs, delivery, delivered=False, answer="503", now_s=now_s)
    assert [(each["state"], each["attempts"]) for each in webhook_deliveries.shown(store)] == [("failed", 4)]


def test_shuffled_webhooks_lose_their_order_and_none_is_lost(tmp_path: Path) -> None:
    """With the knobs deliveries come out of order and some twice, the same ones for the same seed; every event is among them."""
    orders = []
    for attempt in ("first", "second"):
        with Driver(tmp_path / attempt, knobs=tuned(webhook_shuffle_s=60.0, webhook_copies=0.5, webhook_seed=7)) as sandbox:
            endpoint(sandbox)
            made = [happened(sandbox, "invoice.paid") for _ in range(20)]
            webhook_deliveries.begin(sandbox.store, sandbox.engine.knobs, 1000.0)
            orders.append([made.index(each.event) for each in webhook_deliveries.due(sandbox.store, 1060.0, 100)])
    assert orders[0] == orders[1]
    assert set(orders[0]) == set(range(20))
    assert 20 < len(orders[0]) < 40
    assert orders[0] != sorted(orders[0])


def test_a_rolled_secret_works_on_until_it_expires(sandbox: Driver) -> None:
    """After a roll both secrets sign until the old one's time is over, and a second roll does not lengthen it."""
    made = endpoint(sandbox)
    body = sandbox.store.any(made["id"])
    assert body is not None
    once = webhook_targets.rolled(body, "whsec_new", 100.0, 50.0)
    assert webhook_targets.target_of(once).signing(149.0) == ["whsec_new", made["secret"]]
    assert webhook_targets.target_of(once).signing(150.0) == ["whsec_new"]
    twice = webhook_targets.rolled(once, "whsec_newer", 120.0, 500.0)
    assert webhook_targets.target_of(twice).signing(149.0) == ["whsec_newer", "whsec_new", made["secret"]]
    assert webhook_targets.target_of(twice).signing(151.0) == ["whsec_newer", "whsec_new"]
    assert "whsec" not in repr(webhook_targets.target_of(twice))


def test_json_bodies_of_v2_are_read_as_forms_are(sandbox: Driver) -> None:
    """A JSON body has the leaves that a form would have; what is no JSON object, too deep or no text is refused."""


    assert form.of_json(b'{"a": {"b": [1, true, "x", null]}}') == {"a": {"b": {"0": "1", "1": "true", "2": "x", "3": ""}}}
    for wrong in (b"[]", b"1", b"{", b'{"a": "\\ud800"}', b'{"a":' * 12 + b"1" + b"}" * 12):
        with pytest.raises(ApiError):
            form.of_json(wrong)
