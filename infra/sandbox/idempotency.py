"""Idempotency keys: the decision, as a value, for a request that carries one.

Source: https://docs.stripe.com/api/idempotent_requests and https://docs.stripe.com/error-low-level
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from infra.sandbox import errors
from infra.sandbox.errors import ApiError
from infra.sandbox.form import Tree

LONGEST_KEY = 255


@dataclass(frozen=True, slots=True)
class Saved:
    """The first answer under a key: everything a replay needs. `saved_at_s` is on the sandbox's clock."""

    key: str
    path: str
    fingerprint: str
    status: int
    body: bytes
    request_id: str
    saved_at_s: float


@dataclass(frozen=True, slots=True)
class Fresh:
    """The key is free (never used, or pruned): execute, then save."""


@dataclass(frozen=True, slots=True)
class Replay:
    """The same request again: answer with what was saved, a saved 500 included."""

    saved: Saved


def fingerprint(tree: Tree) -> str:
    """Identifies the parameters, whatever order the form had them in."""
    return hashlib.sha256(json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def decide(key: str, path: str, print_: str, *, saved: Saved | None, in_flight: bool, now_s: float, ttl_s: float) -> Fresh | Replay | ApiError:
    """Three outcomes, each a value: new, same again, or refused (in use, other endpoint, other parameters)."""
    if not 0 < len(key) <= LONGEST_KEY:
        return errors.bad_idempotency_key()
    if in_flight:
        return errors.key_in_use(key)
    if saved is None or now_s - saved.saved_at_s >= ttl_s:
        return Fresh()
    if saved.path != path:
        return errors.other_endpoint(key, saved.path, path)
    if saved.fingerprint != print_:
        return errors.other_parameters(key)
    return Replay(saved)
