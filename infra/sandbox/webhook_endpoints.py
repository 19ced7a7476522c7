"""Handlers of webhook endpoints (API v1): their secret is shown once, when they are made."""

from __future__ import annotations

from infra.sandbox import versions, webhook_targets, webhook_urls
from infra.sandbox.call import Call, Json
from infra.sandbox.ids import new_id
from infra.sandbox.paging import listed
from infra.sandbox.resources import changed, merged_metadata

KIND = webhook_targets.ENDPOINT


def create_endpoint(call: Call) -> Json:
    """POST /v1/webhook_endpoints"""
    params = call.params
    webhook_urls.check(params["url"], call.knobs, param="url")
    if "api_version" in params:
        versions.checked(params["api_version"])
    secret = new_secret()
    body = {
        "id": new_id("we"),
        "object": KIND,
        "api_version": params.get("api_version"),
        "application": None,
        "created": call.now,
        "description": params.get("description"),
        "enabled_events": params["enabled_events"],
        "livemode": False,
        "metadata": merged_metadata({}, params.get("metadata")),
        "status": "enabled",
        "url": params["url"],
        "_secrets": [[secret, None]],
    }
    call.store.put(body)
    return {**shaped(body), "secret": secret}


def new_secret() -> str:
    """A signing secret in Stripe's style."""
    return new_id("whsec").replace("whsec_1", "whsec_")


def shaped(body: Json) -> Json:
    """An endpoint as it leaves the sandbox: without its secrets."""
    return {name: value for name, value in body.items() if not name.startswith("_")}


def retrieve_endpoint(call: Call) -> Json:
    """GET /v1/webhook_endpoints/{id}"""
    return shaped(call.addressed(KIND))


def list_endpoints(call: Call) -> Json:
    """GET /v1/webhook_endpoints"""
    return listed(call, KIND, shaped)


def update_endpoint(call: Call) -> Json:
    """POST /v1/webhook_endpoints/{id}: url, types, description, and whether it is enabled; its API version stays"""
    body = call.addressed(KIND)
    if "url" in call.params:
        webhook_urls.check(call.params["url"], call.knobs, param="url")
    body = changed(body, call.params, "url", "enabled_events", "description")
    if "disabled" in call.params:
        body["status"] = "disabled" if call.params["disabled"] else "enabled"
    call.store.put(body)
    return shaped(body)


def delete_endpoint(call: Call) -> Json:
    """DELETE /v1/webhook_endpoints/{id}: what was still to be sent to it is not"""
    body = call.addressed(KIND)
    call.store.delete(body["id"])
    return {"id": body["id"], "object": KIND, "deleted": True}
