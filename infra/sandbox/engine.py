"""A call from its bytes to its answer, in Stripe's order: key, rate limiter, parameters, idempotency, execution, saving.

`admit` decides without touching anything; `execute` has the effect and saves the answer in one transaction. Between the two a fault may
wait: then the key is in use, and the same key is answered with 409.
"""

from __future__ import annotations

import base64
import hmac
import json
import logging
import os
from dataclasses import dataclass, field

from infra.sandbox import adoption, errors, events, expand, form, idempotency, passing, shapes, snapshots, timetable, versions
from infra.sandbox.call import Call, Json
from infra.sandbox.chores import CHORES
from infra.sandbox.clock import Clock
from infra.sandbox.endpoint import Endpoint
from infra.sandbox.errors import ApiError
from infra.sandbox.faults import FaultName, Plan
from infra.sandbox.idempotency import Replay, Saved
from infra.sandbox.knobs import Knobs
from infra.sandbox.limiter import Limiter
from infra.sandbox.moment import Moment
from infra.sandbox.params import validate
from infra.sandbox.routes import route
from infra.sandbox.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request: header names in lower case, `query` without its question mark. `monotonic_s` is for the rate limiter."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    monotonic_s: float


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; `endpoint` and `fault` are for the counters and the wire faults, `error` is the kind of a refusal."""

    status: int
    body: bytes
    headers: dict[str, str]
    endpoint: str
    fault: FaultName | None = None
    error: str | None = None
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Admitted:
    """A call that may execute. Its key is in use until `execute` or `abandon` ends it."""

    endpoint: Endpoint
    path: str
    object_id: str
    params: Json
    version: str
    headers: dict[str, str]
    key: str | None
    fingerprint: str
    fault: FaultName | None
    lock: str | None = None


@dataclass(slots=True)
class Engine:
    """The rules over one store. Not thread-safe: one event loop calls it."""

    store: Store
    clock: Clock
    knobs: Knobs
    api_key: str | None
    plan: Plan
    limiter: Limiter
    _in_flight: set[str] = field(default_factory=set)
    _locked: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """What an older program left is brought up to date."""
        with self.store.transaction():
            events.set_account_version(self.store, self.knobs.default_version)
        adoption.adopt(self.store, self.knobs, self.clock.now_s())

    def admit(self, request: Request) -> Admitted | Answer:
        """The call, ready to execute, or the answer that needs no execution."""
        key = request.headers.get("idempotency-key") if request.method == "POST" else None
        headers = {"Request-Id": new_request_id()}
        if key is not None:
            headers["Idempotency-Key"] = key[: idempotency.LONGEST_KEY].encode("ascii", "replace").decode()
        name = "unknown"
        fault: FaultName | None = None
        try:
            version = self._identified(request)
            headers["Stripe-Version"] = version
            found = route(request.method, request.path, version)
            if found is None:
                raise errors.unknown_url(request.method, request.path)
            endpoint, object_id = found
            name = endpoint.name
            fault = self.plan.draw(endpoint.resource, key or f"{request.method} {request.path}?{request.query}")
            if key is None and fault == "409":
                fault = None  # there is no key to be in use
            self._limit(endpoint, request.monotonic_s, fault)
            tree = form_of(request)
            params = validate(endpoint.spec, tree)
        except ApiError as error:
            return _refusal(error, headers, name, fault)
        print_ = "" if key is None else idempotency.fingerprint(tree)
        lock = None if endpoint.lock is None or not self.knobs.meter_one_at_a_time else endpoint.lock(self.store, params)
        admitted = Admitted(endpoint, request.path, object_id, params, version, headers, key, print_, fault, lock)
        return self._alone(admitted) if key is None else self._once(admitted, key)

    def _identified(self, request: Request) -> str:
        """Checks the API key and gives the API version."""
        self.check_key(request.headers.get("authorization", ""))
        return versions.checked(request.headers.get("stripe-version", self.knobs.default_version))

    def check_key(self, authorization: str) -> None:
        """Raises 401 unless the header carries the key, as Bearer or as the user name of Basic."""
        scheme, _, credentials = authorization.strip().partition(" ")
        given = credentials.strip()
        if scheme.lower() == "basic":
            try:
                given = base64.b64decode(given, validate=True).decode().partition(":")[0]
            except ValueError:
                given = ""
        elif scheme.lower() != "bearer":
            given = ""
        if not given:
            raise errors.no_key()
        if self.api_key is not None:
            known = hmac.compare_digest(given.encode(), self.api_key.encode())
        else:
            known = given.startswith("sk_test_")
        if not known:
            raise errors.bad_key()

    def _limit(self, endpoint: Endpoint, monotonic_s: float, fault: FaultName | None) -> None:
        reason = self.limiter.refuses(endpoint.resource, monotonic_s)
        if reason is None and fault == "429":
            reason = "endpoint-rate"
        if reason is not None:
            raise errors.rate_limited(reason)
        if fault == "503":
            raise errors.unavailable()

    def _once(self, admitted: Admitted, key: str) -> Admitted | Answer:
        """The idempotency layer: the call goes on, or is answered from what was saved, or is refused."""
        name, headers, fault = admitted.endpoint.name, admitted.headers, admitted.fault
        decision = idempotency.decide(
            key,
            admitted.path,
            admitted.fingerprint,
            saved=self.store.answer(key),
            in_flight=key in self._in_flight or fault == "409",
            now_s=self.clock.now_s(),
            ttl_s=self.knobs.idempotency_ttl_s,
        )
        if isinstance(decision, ApiError):
            return _refusal(decision, headers, name, fault)
        if isinstance(decision, Replay):
            saved = decision.saved
            replayed = {**_json(headers), "Original-Request": saved.request_id, "Idempotent-Replayed": "true"}
            wire = fault if fault in {"lost", "cut"} else None  # the other faults concern an execution, and there is none
            return Answer(saved.status, saved.body, replayed, name, wire, replayed=True)
        return self._alone(admitted)

    def _alone(self, admitted: Admitted) -> Admitted | Answer:
        """The last gate: the call goes on and takes its key and its lock, unless another call holds the lock."""
        if admitted.lock is not None and admitted.lock in self._locked:
            return _refusal(errors.lock_timeout(), admitted.headers, admitted.endpoint.name, admitted.fault)
        if admitted.key is not None:
            self._in_flight.add(admitted.key)
        if admitted.lock is not None:
            self._locked.add(admitted.lock)
        return admitted

    def execute(self, admitted: Admitted) -> Answer:
        """The effect, its answer, and the key's record.

        What has fallen due by now is done before, each thing in a transaction of its own (`passing`).
        Side effects: 1. objects and cells and 2. the saved answer, in one transaction: a crash leaves both or neither. 3. The key is free
        again: in memory only, so a crash frees it too, and the retry executes or replays by what 1 and 2 left.
        """
        try:
            now_s = self.clock.now_s()
            passing.settle(self.store, self.knobs, now_s)
            return self._answer(admitted, now_s)
        except Exception:  # a mistake of ours: the transaction is rolled back, nothing is saved, the caller may retry
            log.exception("the sandbox failed in %s", admitted.endpoint.name)
            return _refusal(errors.server_error(), admitted.headers, admitted.endpoint.name, admitted.fault)
        finally:
            self.abandon(admitted)

    def abandon(self, admitted: Admitted) -> None:
        """Frees the key and the lock of a call that has ended, or that will never execute."""
        if admitted.key is not None:
            self._in_flight.discard(admitted.key)
        if admitted.lock is not None:
            self._locked.discard(admitted.lock)

    def _answer(self, admitted: Admitted, now_s: float) -> Answer:
        """The effect and its answer in one transaction; a refusal in another, so that it is saved and what the handler wrote is undone."""
        headers, name, fault = admitted.headers, admitted.endpoint.name, admitted.fault
        try:
            with self.store.transaction():
                if fault == "500":
                    raise errors.server_error()
                body = self._effect(admitted, now_s)
                if fault == "500_effect":
                    answer = _refusal(errors.server_error(), headers, name, fault)
                else:
                    answer = Answer(200, json.dumps(body, separators=(",", ":")).encode(), _json(headers), name, fault)
                self._save(admitted, answer, now_s)
                return answer
        except ApiError as error:
            answer = _refusal(error, headers, name, fault)
        with self.store.transaction():
            self._save(admitted, answer, now_s)
        return answer

    def _effect(self, admitted: Admitted, now_s: float) -> Json:
        request = admitted.key or admitted.headers["Request-Id"]
        call = Call(admitted.path, admitted.object_id, admitted.params, admitted.version, now_s, self.store, self.knobs, request)
        body = admitted.endpoint.handler(call)
        paths = admitted.params.get("expand") or []
        if not paths:
            return body
        return expand.expanded(body, paths, lambda object_id: self._expandable(object_id, admitted.version), self._tiers)

    def _tiers(self, price_id: str) -> object:
        return (self.store.get("price", price_id) or {}).get("tiers")

    def _expandable(self, object_id: str, version: str) -> Json | None:
        """Customers, products, prices, subscriptions and invoices can stand in for their ids."""
        body = self.store.any(object_id)
        if body is None or body["object"] not in {"customer", "product", "price", "subscription", "invoice"}:
            return None
        if body["object"] in {"subscription", "invoice"}:
            moment = Moment(self.store, self.knobs, 0, timetable.OWN, 0)
            return snapshots.subscription(moment, body, version) if body["object"] == "subscription" else snapshots.invoice(moment, body, version)
        if body["object"] == "price":
            return shapes.price(body, version)
        return dict(shapes.product(body, version)) if body["object"] == "product" else body

    def _save(self, admitted: Admitted, answer: Answer, now_s: float) -> None:
        if admitted.key is None:
            return
        first = admitted.headers["Request-Id"]
        answer.headers["Original-Request"] = first
        self.store.save_answer(Saved(admitted.key, admitted.path, admitted.fingerprint, answer.status, answer.body, first, now_s))

    def keep(self) -> None:
        """Housekeeping, called now and then and after the clock was set: forgets answers that are past their time, some at once, and does
        what has fallen due without a call (`chores`)."""
        now_s = self.clock.now_s()
        with self.store.transaction():
            self.store.prune_answers(now_s - self.knobs.idempotency_ttl_s)
        passing.settle(self.store, self.knobs, now_s)
        for chore in CHORES:
            with self.store.transaction():
                chore(self.store, self.knobs, now_s)


def form_of(request: Request) -> form.Tree:
    """The parameters of a call: its query, and of a POST the body too."""
    if request.method != "POST":
        return form.decode(request.query)
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.path.startswith("/v2/") and content_type == "application/json":
        return form.of_json(request.body)
    if request.body and content_type not in {"application/x-www-form-urlencoded", ""}:
        raise errors.bad_content_type()
    try:
        text = request.body.decode()
    except UnicodeDecodeError as error:
        raise errors.bad_form("the form is not UTF-8") from error
    return form.decode("&".join(part for part in (request.query, text) if part))


def new_request_id() -> str:
    """A request id in Stripe's style."""
    return "req_" + os.urandom(7).hex()


def _json(headers: dict[str, str]) -> dict[str, str]:
    headers["Content-Type"] = "application/json"
    return headers


def _refusal(error: ApiError, headers: dict[str, str], name: str, fault: FaultName | None) -> Answer:
    _json(headers)
    if 400 <= error.status < 500 and error.status not in {409, 429}:
        headers["Stripe-Should-Retry"] = "false"
    if error.code == "lock_timeout":
        headers["Stripe-Should-Retry"] = "true"
    if error.limited_by is not None:
        headers["Stripe-Rate-Limited-Reason"] = error.limited_by
    return Answer(error.status, error.body(), headers, name, fault, error=error.kind)
