"""Handlers of event destinations (API v2), as far as webhooks need them: the only way to be told of thin events."""

from __future__ import annotations

from infra.sandbox import errors, versions, webhook_targets, webhook_urls
from infra.sandbox.call import Call, Json
from infra.sandbox.ids import new_id
from infra.sandbox.resources import changed, merged_metadata
from infra.sandbox.webhook_endpoints import new_secret

KIND = webhook_targets.DESTINATION
SECRET, URL = "webhook_endpoint.signing_secret", "webhook_endpoint.url"


def create_destination(call: Call) -> Json:
    """POST /v2/core/event_destinations: the secret is shown where `include` asks for it, now and never again"""
    params = call.params
    thin = params["event_payload"] == "thin"
    if thin and "snapshot_api_version" in params:
        raise errors.refused("`snapshot_api_version` is for snapshot events only.", rule="destinations.version", param="snapshot_api_version")
    if "snapshot_api_version" in params:
        versions.checked(params["snapshot_api_version"])
    webhook_urls.check(params["webhook_endpoint"]["url"], call.knobs, param="webhook_endpoint.url")
    body = {
        "id": new_id("ed_test"),
        "object": KIND,
        "created": webhook_targets.instant(call.now_s),
        "description": params.get("description", ""),
        "enabled_events": params["enabled_events"],
        "event_payload": params["event_payload"],
        "events_from": params.get("events_from", ["@self"]),
        "livemode": False,
        "metadata": merged_metadata({}, params.get("metadata")),
        "name": params["name"],
        "snapshot_api_version": params.get("snapshot_api_version"),
        "status": "enabled",
        "status_details": None,
        "type": "webhook_endpoint",
        "updated": webhook_targets.instant(call.now_s),
        "webhook_endpoint": {"url": params["webhook_endpoint"]["url"]},
        "_secrets": [[new_secret(), None]],
    }
    call.store.put(body)
    return shaped(body, params.get("include", []), first=True)


def shaped(body: Json, include: list[str], *, first: bool = False) -> Json:
    """A destination as it leaves the sandbox: URL and secret only where they were asked for, the secret only at first."""
    shown = {name: value for name, value in body.items() if not name.startswith("_")}
    shown["webhook_endpoint"] = {
        "signing_secret": body["_secrets"][0][0] if first and SECRET in include else None,
        "url": body["webhook_endpoint"]["url"] if URL in include else None,
    }
    return shown


def retrieve_destination(call: Call) -> Json:
    """GET /v2/core/event_destinations/{id}"""
    return shaped(call.addressed(KIND), call.params.get("include", []))


def list_destinations(call: Call) -> Json:
    """GET /v2/core/event_destinations: newest first, all of them on one page"""
    return {
        "data": [shaped(body, call.params.get("include", [])) for body in call.store.scan(KIND)],
        "next_page_url": None,
        "previous_page_url": None,
    }


def update_destination(call: Call) -> Json:
    """POST /v2/core/event_destinations/{id}"""
    body = changed(call.addressed(KIND), call.params, "description", "enabled_events", "name")
    if "webhook_endpoint" in call.params:
        webhook_urls.check(call.params["webhook_endpoint"]["url"], call.knobs, param="webhook_endpoint.url")
        body["webhook_endpoint"] = {"url": call.params["webhook_endpoint"]["url"]}
    return _put(call, body)


def delete_destination(call: Call) -> Json:
    """DELETE /v2/core/event_destinations/{id}: what was still to be sent to it is not"""
    body = call.addressed(KIND)
    call.store.delete(body["id"])
    return {"id": body["id"], "object": KIND}


def disable_destination(call: Call) -> Json:
    """POST /v2/core/event_destinations/{id}/disable: what happens now is never sent to it"""
    details = {"disabled": {"reason": "user"}}
    return _put(call, {**call.addressed(KIND), "status": "disabled", "status_details": details})


def enable_destination(call: Call) -> Json:
    """POST /v2/core/event_destinations/{id}/enable"""
    return _put(call, {**call.addressed(KIND), "status": "enabled", "status_details": None})


def _put(call: Call, body: Json) -> Json:
    body = {**body, "updated": webhook_targets.instant(call.now_s)}
    call.store.put(body)
    return shaped(body, call.params.get("include", []))
