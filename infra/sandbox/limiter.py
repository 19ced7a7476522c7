"""The rate limiter: one token bucket for the account and one for each limited resource, holding one second's worth of calls."""

from __future__ import annotations

from infra.sandbox.knobs import Knobs


class Bucket:
    """`rate` tokens a second, at most one second's worth (at least one token); time is an argument, in seconds, and never runs back."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._tokens = max(1.0, rate)
        self._at_s: float | None = None

    def take(self, now_s: float) -> bool:
        """Takes a token if there is one."""
        if self._at_s is not None and now_s > self._at_s:
            self._tokens = min(max(1.0, self.rate), self._tokens + (now_s - self._at_s) * self.rate)
        self._at_s = now_s if self._at_s is None else max(now_s, self._at_s)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class Limiter:
    """Decides on real (monotonic) seconds: a settable clock must not earn anybody calls."""

    def __init__(self, knobs: Knobs) -> None:
        self._account = Bucket(knobs.calls_per_second)
        self._resources = {resource: Bucket(rate) for resource, rate in knobs.endpoint_calls_per_second.items()}
        self._resources.setdefault("meter_events", Bucket(knobs.meter_calls_per_second))
        self._apart = frozenset() if knobs.meter_calls_counted else frozenset({"meter_events"})

    def refuses(self, resource: str, now_s: float) -> str | None:
        """The `Stripe-Rate-Limited-Reason` of a refusal, or None if the call may go on."""
        bucket = self._resources.get(resource)
        if bucket is not None and not bucket.take(now_s):
            return "endpoint-rate"
        return None if resource in self._apart or self._account.take(now_s) else "global-rate"
