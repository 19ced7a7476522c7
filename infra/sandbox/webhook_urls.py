"""Where webhooks may go: to this machine only, unless a knob says otherwise."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from infra.sandbox import errors
from infra.sandbox.knobs import Knobs


def check(url: str, knobs: Knobs, *, param: str) -> None:
    """Raises Stripe's refusal for what is no URL, and the sandbox's own for one that leads to another machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
        port = parts.port
    except ValueError:
        host, parts, port = None, urlsplit(""), None
    if parts.scheme not in {"http", "https"} or not host or port == 0:
        raise errors.refused("Invalid URL: An explicit scheme (such as https) must be provided.", rule="webhooks.url", param=param)
    if parts.username is not None or parts.password is not None:
        raise errors.refused("Invalid URL: it must not contain a user name or a password.", rule="webhooks.url", param=param)
    if not allowed(url, knobs):
        message = "The sandbox sends webhooks to this machine only (127.0.0.1, ::1, localhost). The knob webhook_anywhere lifts that."
        raise errors.refused(message, rule="webhooks.loopback", param=param)


def allowed(url: str, knobs: Knobs) -> bool:
    """Whether a URL that was taken once may still be written to: the knob may be another one by now."""
    host = urlsplit(url).hostname or ""
    return knobs.webhook_anywhere or _loopback(host) or host == knobs.webhook_host != ""


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
