"""Stripe's error envelope, one constructor for each refusal, each naming the rule (`rules.py`) that it enforces."""

from __future__ import annotations

import json
from collections.abc import Sequence

from topics.errors import TidemarkError

DOCS = "https://stripe.com/docs/error-codes/"


class ApiError(TidemarkError):
    """A refusal as Stripe words it: HTTP status, `type`, optional `code` and `param`; `rule` is the id of the rule that it enforces."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        rule: str,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        limited_by: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.rule = rule
        self.kind = kind
        self.code = code
        self.param = param
        self.limited_by = limited_by

    def body(self) -> bytes:
        """The JSON answer; keys that do not apply are absent, as at Stripe."""
        error: dict[str, str] = {}
        if self.code is not None:
            error["code"] = self.code
            error["doc_url"] = DOCS + self.code.replace("_", "-")
        error["message"] = self.message
        if self.param is not None:
            error["param"] = self.param
        error["type"] = self.kind
        return json.dumps({"error": error}, indent=2).encode()


# ── who and how often ────────────────────────────────────────────────────────────────────────────────────────────────
def no_key() -> ApiError:
    """401: the call carries no API key."""
    message = (
        "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer auth "
        "(e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See https://stripe.com/docs/api#authentication for details, "
        "or we can help at https://support.stripe.com/."
    )
    return ApiError(401, message, rule="auth.key")


def bad_key() -> ApiError:
    """401: an unknown API key; not a character of it is repeated, because answers end up in logs."""
    return ApiError(401, "Invalid API Key provided: ********", rule="auth.key")


def bad_version(version: str) -> ApiError:
    """400: a `Stripe-Version` that is no version."""
    return ApiError(400, f"Invalid Stripe API version: {version}", rule="version.header")


def unknown_url(method: str, path: str) -> ApiError:
    """404: a URL that this API version does not have."""
    message = (
        f"Unrecognized request URL ({method}: {path}). If you are trying to list objects, remove the trailing slash. If you are trying "
        "to retrieve an object, make sure you passed a valid (non-empty) identifier in your code. Please see https://stripe.com/docs "
        "or we can help at https://support.stripe.com/."
    )
    return ApiError(404, message, rule="url.unknown")


def rate_limited(reason: str) -> ApiError:
    """429: more calls a second than the account or the endpoint may make; never saved under a key."""
    message = "Request rate limit exceeded. Learn more about rate limits at https://stripe.com/docs/rate-limits."
    return ApiError(429, message, rule="limiter.rate", code="rate_limit", limited_by=reason)


def lock_timeout() -> ApiError:
    """429: another call holds the object; never saved under a key, and the client is told to try again."""
    message = (
        "This object cannot be accessed right now because another API request or Stripe process is currently accessing it. If you see "
        "this error intermittently, retry the request. If you see this error frequently and are making multiple concurrent requests to a "
        "single object, make your requests serially or at a lower rate."
    )
    return ApiError(429, message, rule="meter_events.one_at_a_time", code="lock_timeout")


# ── the form ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def bad_content_type() -> ApiError:
    """400: a body that is no form."""
    message = (
        "Invalid request (check that your POST content type is application/x-www-form-urlencoded). If you have any questions, "
        "we can help at https://support.stripe.com/."
    )
    return ApiError(400, message, rule="form.encoding")


def bad_form(detail: str) -> ApiError:
    """400: a form whose keys or bytes cannot be read."""
    return ApiError(400, f"Invalid request: {detail}", rule="form.encoding")


def unknown_parameters(names: Sequence[str]) -> ApiError:
    """400: parameters that the endpoint does not have."""
    plural = "s" if len(names) > 1 else ""
    message = f"Received unknown parameter{plural}: {', '.join(names)}"
    return ApiError(400, message, rule="params.unknown", code="parameter_unknown", param=names[0])


def missing(name: str) -> ApiError:
    """400: a required parameter is absent."""
    return ApiError(400, f"Missing required param: {name}.", rule="params.missing", code="parameter_missing", param=name)


def empty(name: str) -> ApiError:
    """400: an empty value for something that cannot be unset."""
    message = (
        f"You passed an empty string for '{name}'. We assume empty values are an attempt to unset a parameter; however '{name}' cannot be "
        f"unset. You should remove '{name}' from your request or supply a non-empty value."
    )
    return ApiError(400, message, rule="params.empty", code="parameter_invalid_empty", param=name)


def not_integer(name: str, value: str) -> ApiError:
    """400: an integer was expected."""
    return ApiError(400, f"Invalid integer: {value}", rule="params.integer", code="parameter_invalid_integer", param=name)


def out_of_range(name: str, sentence: str) -> ApiError:
    """400: a number outside what the parameter takes."""
    return ApiError(400, sentence, rule="params.integer", code="parameter_invalid_integer", param=name)


def wrong_shape(name: str, expected: str) -> ApiError:
    """400: a value of another shape (an object where a string belongs, an unknown word of an enumeration, ...)."""
    return ApiError(400, f"Invalid {name}: must be {expected}", rule="params.shape", param=name)


# ── idempotency ──────────────────────────────────────────────────────────────────────────────────────────────────────
def other_parameters(key: str) -> ApiError:
    """400 `idempotency_error`: the key was first used with other parameters."""
    message = (
        "Keys for idempotent requests can only be used with the same parameters they were first used with. "
        f"Try using a key other than '{key}' if you meant to execute a different request."
    )
    return ApiError(400, message, rule="idempotency.parameters", kind="idempotency_error")


def other_endpoint(key: str, first: str, second: str) -> ApiError:
    """400 `idempotency_error`: the key was first used for another URL."""
    message = (
        "Keys for idempotent requests can only be used for the same endpoint they were first used for "
        f"('{second}' vs '{first}'). Try using a key other than '{key}' if you meant to execute a different request."
    )
    return ApiError(400, message, rule="idempotency.endpoint", kind="idempotency_error")


def key_in_use(key: str) -> ApiError:
    """409: a request with this key is still being executed."""
    message = (
        "There is currently another in-progress request using this Idempotent Key (that probably means you submitted twice, "
        f"and the other request is still going through): {key}. Please try again later."
    )
    return ApiError(409, message, rule="idempotency.in_flight", code="idempotency_key_in_use")


def bad_idempotency_key() -> ApiError:
    """400: an empty key, or one longer than 255 characters."""
    return ApiError(400, "Idempotency keys must have between 1 and 255 characters.", rule="idempotency.length", kind="idempotency_error")


# ── objects ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def no_such(kind: str, object_id: str, *, param: str, in_url: bool) -> ApiError:
    """404 for an object of the URL, 400 for one named by a parameter: it does not exist."""
    return ApiError(404 if in_url else 400, f"No such {kind}: '{object_id}'", rule="objects.missing", code="resource_missing", param=param)


def refused(message: str, *, rule: str, param: str | None = None, code: str | None = None) -> ApiError:
    """400 raised while an endpoint is executing: saved under the request's key, unlike the refusals of the form."""
    return ApiError(400, message, rule=rule, param=param, code=code)


def declined() -> ApiError:
    """402: the payment method was charged and refused."""
    return ApiError(402, "Your card was declined.", rule="payments.declined", kind="card_error", code="card_declined")


# ── our own failures, or a fault that was asked for ──────────────────────────────────────────────────────────────────
def server_error() -> ApiError:
    """500: saved under the request's key when it happened while executing."""
    message = "An unknown error occurred. We have been notified and are looking into it. (This is the sandbox, not Stripe.)"
    return ApiError(500, message, rule="faults.saved_500", kind="api_error")


def unavailable() -> ApiError:
    """503: the request never reached execution; nothing is saved."""
    message = "The service is temporarily unavailable. Please try again. (This is the sandbox, not Stripe.)"
    return ApiError(503, message, rule="faults.unsaved_503", kind="api_error")
