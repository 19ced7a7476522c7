"""The sandbox's pure decisions: idempotency keys, rate limits, faults by seed, API versions, and the table of rules."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import infra.sandbox
from infra.sandbox import idempotency, versions
from infra.sandbox.errors import ApiError
from infra.sandbox.faults import FAULTS, Plan
from infra.sandbox.idempotency import Fresh, Replay, Saved
from infra.sandbox.knobs import Knobs, turned
from infra.sandbox.limiter import Bucket, Limiter
from infra.sandbox.rules import rules_table
from topics.errors import UsageError

SAVED = Saved("k", "/v1/a", "print", 500, b"{}", "req_1", 1000.0)
DAY_S = 86_400


# ── idempotency ──────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("key", "path", "print_", "saved", "in_flight", "now_s", "outcome"),
    [
        ("k", "/v1/a", "print", None, False, 1000.0, Fresh()),
        ("k", "/v1/a", "print", SAVED, False, 1000.0, Replay(SAVED)),
        ("k", "/v1/a", "print", SAVED, False, 1000.0 + DAY_S - 1, Replay(SAVED)),
        ("k", "/v1/a", "print", SAVED, False, 1000.0 + DAY_S, Fresh()),
        ("k", "/v1/a", "print", SAVED, False, 1.0, Replay(SAVED)),
        ("k", "/v1/a", "other", SAVED, False, 1000.0 + DAY_S, Fresh()),
        ("k", "/v1/a", "other", SAVED, False, 1001.0, "idempotency.parameters"),
        ("k", "/v1/b", "print", SAVED, False, 1001.0, "idempotency.endpoint"),
        ("k", "/v1/a", "print", None, True, 1001.0, "idempotency.in_flight"),
        ("k", "/v1/b", "other", SAVED, True, 1001.0, "idempotency.in_flight"),
        ("", "/v1/a", "print", None, False, 1001.0, "idempotency.length"),
        ("k" * 256, "/v1/a", "print", None, False, 1001.0, "idempotency.length"),
        ("k" * 255, "/v1/a", "print", None, False, 1001.0, Fresh()),
    ],
)
def test_the_table_of_idempotency(
    key: str, path: str, print_: str, saved: Saved | None, in_flight: bool, now_s: float, outcome: Fresh | Replay | str
) -> None:
    """New, same again, in use, other endpoint, other parameters, too old: each combination has its one outcome."""
    decided = idempotency.decide(key, path, print_, saved=saved, in_flight=in_flight, now_s=now_s, ttl_s=DAY_S)
    assert (decided.rule if isinstance(decided, ApiError) else decided) == outcome


def test_the_words_of_a_reused_key_are_stripes() -> None:
    """A key with other parameters, another URL or a running request is refused with the status, type and words seen in the field."""

    def refused(path: str, print_: str, *, in_flight: bool = False) -> ApiError:
        decided = idempotency.decide("k", path, print_, saved=SAVED, in_flight=in_flight, now_s=1000, ttl_s=DAY_S)
        assert isinstance(decided, ApiError)
        return decided

    other = refused("/v1/a", "other")
    assert (other.status, other.kind, other.code) == (400, "idempotency_error", None)
    assert other.message == (
        "Keys for idempotent requests can only be used with the same parameters they were first used with. "
        "Try using a key other than 'k' if you meant to execute a different request."
    )
    elsewhere = refused("/v1/b", "print")
    assert (elsewhere.status, elsewhere.kind) == (400, "idempotency_error")
    assert "can only be used for the same endpoint they were first used for ('/v1/b' vs '/v1/a')" in elsewhere.message
    running = refused("/v1/a", "print", in_flight=True)
    assert (running.status, running.code) == (409, "idempotency_key_in_use")


@given(st.permutations(["quantity", "timestamp", "action"]))
def test_the_order_of_parameters_is_no_difference(names: list[str]) -> None:
    """The fingerprint knows the parameters, not the order in which a client wrote them."""
    values = {"quantity": "5", "timestamp": "1700000000", "action": "set"}
    assert idempotency.fingerprint({name: values[name] for name in names}) == idempotency.fingerprint({**values})


# ── the rate limiter ─────────────────────────────────────────────────────────────────────────────────────────────────
@given(st.lists(st.floats(0, 0.3), min_size=1, max_size=200), st.integers(1, 20))
def test_no_second_exceeds_the_rate(gaps: list[float], rate: int) -> None:
    """Over any span the bucket lets through at most its burst of one second plus rate × span."""
    bucket, now_s, taken = Bucket(rate), 100.0, []
    for gap in gaps:
        now_s += gap
        if bucket.take(now_s):
            taken.append(now_s)
    for first, begin in enumerate(taken):
        for last in range(first, len(taken)):
            assert last - first + 1 <= rate + (taken[last] - begin) * rate + 1e-6


def test_a_limited_resource_leaves_the_others_alone() -> None:
    """A limit on one resource refuses that one with its reason, while the account's calls go on."""
    limiter = Limiter(Knobs(calls_per_second=100, endpoint_calls_per_second={"usage_records": 2}))
    assert [limiter.refuses("usage_records", 1.0) for _ in range(3)] == [None, None, "endpoint-rate"]
    assert limiter.refuses("prices", 1.0) is None
    assert Limiter(Knobs(calls_per_second=1)).refuses("prices", 1.0) is None


def test_a_clock_that_runs_back_earns_no_calls() -> None:
    """An instant before the last one adds nothing to the bucket."""
    bucket = Bucket(1)
    assert [bucket.take(at) for at in (10.0, 5.0, 10.5, 11.0)] == [True, False, False, True]


# ── faults ───────────────────────────────────────────────────────────────────────────────────────────────────────────
RATES: dict[str, float] = dict.fromkeys(map(str, FAULTS), 0.1)


def test_the_same_seed_hits_the_same_requests() -> None:
    """Faults depend on the seed and the request, not on the order in which requests arrive."""
    names = [f"key-{n}" for n in range(200)]
    one, two, other = Plan(7, RATES), Plan(7, RATES), Plan(8, RATES)
    forwards = {name: one.draw("usage_records", name) for name in names}
    assert {name: two.draw("usage_records", name) for name in reversed(names)} == forwards
    assert {name: other.draw("usage_records", name) for name in names} != forwards


def test_a_retry_draws_anew() -> None:
    """No request is hit for ever: its repetitions draw independently, and a restart draws anew too."""
    plan = Plan(1, {"lost": 0.9})
    assert {plan.draw("usage_records", "k") for _ in range(100)} == {"lost", None}
    after_restart = [Plan(1, {"lost": 0.5}, epoch=epoch).draw("usage_records", "k") for epoch in range(50)]
    assert set(after_restart) == {"lost", None}


def test_rates_are_met() -> None:
    """Each fault hits about its share of the requests."""
    plan = Plan(3, {"lost": 0.05, "429": 0.2})
    hits = Counter(plan.draw("usage_records", f"key-{n}") for n in range(20_000))
    assert 800 < hits["lost"] < 1200
    assert 3700 < hits["429"] < 4300
    assert set(hits) == {"lost", "429", None}


def test_only_the_named_resource_is_hit() -> None:
    """`only` keeps every other resource free of faults."""
    plan = Plan(3, {"500": 1.0}, only="usage_records")
    assert plan.draw("prices", "k") is None
    assert plan.draw("usage_records", "k") == "500"


@pytest.mark.parametrize("rates", [{"explode": 0.1}, {"lost": -0.1}, {"lost": 1.1}, {"lost": 0.6, "cut": 0.6}])
def test_impossible_rates_are_refused(rates: dict[str, float]) -> None:
    """An unknown fault, or shares that are no shares, are refused in a sentence."""
    with pytest.raises(UsageError):
        Plan(1, rates)


# ── versions and rules ───────────────────────────────────────────────────────────────────────────────────────────────
def test_usage_records_end_with_basil() -> None:
    """The border between the API eras lies at 2025-03-31, that day included in the new one."""
    assert not versions.is_basil("2025-02-24.acacia")
    assert not versions.is_basil("2023-08-16")
    assert versions.is_basil("2025-03-31.basil")
    assert versions.is_basil(Knobs().default_version)


@pytest.mark.parametrize("version", ["", "latest", "2025-13-01", "2025-02-24.Acacia!", "2025-02-24\n"])
def test_a_version_that_is_none_is_refused(version: str) -> None:
    """What does not look like a version is a 400."""
    with pytest.raises(ApiError):
        versions.checked(version)


def _rules_in_code() -> set[str]:
    """Every string passed as `rule=` anywhere in the sandbox."""
    used = set()
    for path in Path(next(iter(infra.sandbox.__path__))).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "rule" and isinstance(node.value, ast.Constant):
                used.add(str(node.value.value))
    return used


def test_every_refusal_names_a_rule_of_the_table() -> None:
    """No refusal exists without a line in the table that says where it comes from."""
    known = {rule.id for rule in rules_table()}
    assert _rules_in_code() - known == set()
    assert len(_rules_in_code()) > 20


def test_every_rule_has_a_source_and_every_guess_a_reason() -> None:
    """Ids are unique, each rule cites something, documented ones cite a page or the specification."""
    rules = rules_table()
    assert len({rule.id for rule in rules}) == len(rules)
    for rule in rules:
        assert rule.source, rule.id
        if rule.evidence == "documented":
            assert rule.source.startswith(("https://docs.stripe.com/", "stripe/openapi ")), rule.id


def test_every_knob_belongs_to_a_rule() -> None:
    """A tolerance that nobody can find in the table does not exist, and the table shows the value in force."""
    rules = {rule.knob: rule for rule in rules_table(Knobs(grace_s=17)) if rule.knob is not None}
    assert set(rules) == set(Knobs.__dataclass_fields__)
    assert rules["grace_s"].value == "17"


def test_knobs_are_read_from_text() -> None:
    """Each kind of knob is read from a command line as its own type."""
    read = turned(Knobs(), {"grace_s": "0", "period_start_taken": "true", "calls_per_second": "2.5", "default_version": "2025-02-24.acacia"})
    assert read == Knobs(grace_s=0, period_start_taken=True, calls_per_second=2.5, default_version="2025-02-24.acacia")


@pytest.mark.parametrize(
    ("name", "text"), [("grace", "0"), ("grace_s", "1.5"), ("grace_s", "-1"), ("period_start_taken", "1"), ("calls_per_second", "nan")]
)
def test_wrong_knobs_are_refused(name: str, text: str) -> None:
    """An unknown knob or a value that it cannot have is one sentence."""
    with pytest.raises(UsageError):
        turned(Knobs(), {name: text})
