"""A fixed share of the fuzzer in every run: each part by the same seeds, so that a red test is red again. The long run is `python -m tests.fuzz`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.sandbox import form
from infra.sandbox.errors import ApiError
from infra.settings import load_settings
from sinks.outcomes import Answer, Delivered, Outcome, Wanted, outcome_of
from tests.fuzz.events import REASONS
from tests.fuzz.files import TOML
from tests.fuzz.parts import PARTS
from topics.definitions import decode_definition
from topics.errors import ConfigurationFault, MalformedRecord
from topics.event import Event, Rejection, parse_event
from topics.quantity import BadQuantity, OutOfRange, format_scaled, parse
from topics.receipt import decode_receipt, decode_receipt_key
from topics.verdict import decode_verdict
from topics.window_total import decode_window_total

CASES = {"event": 400, "fold": 60, "control": 60, "beginning": 100, "record": 1500, "rejected": 1500, "changelog": 1500}
"""Where a case is cheap; the others take a file or a socket."""
OTHERS = 150
SEEDED = settings(max_examples=200, deadline=None, derandomize=True, database=None)


@pytest.mark.parametrize("part", sorted(PARTS))
def test_nothing_that_parses_fails(part: str) -> None:
    """Hostile input by seed: a value, a refusal or a halt as promised, on more than one way through the code."""
    ways: Counter[str] = Counter()
    with PARTS[part]() as run:
        for number in range(CASES.get(part, OTHERS)):
            ways[run(Random(f"suite/{number}"))] += 1
    assert len(ways) > (0 if part == "beginning" else 1), ways


@SEEDED
@given(st.binary(max_size=300))
def test_any_bytes_are_one_of_our_records_or_a_named_error(data: bytes) -> None:
    """Bytes of any kind under every decoder of a stored record: never another exception than ours, which names the place."""
    for decode in (decode_window_total, decode_verdict, decode_receipt, decode_definition, decode_receipt_key):
        with pytest.raises(MalformedRecord, match=r"^here: "):
            decode(data, "here")


@SEEDED
@given(st.binary(max_size=300) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_an_event_or_one_reason(data: bytes) -> None:
    """Bytes of any kind as an event: an event, or exactly one of the reasons with a sentence."""
    found = parse_event(data)
    assert isinstance(found, Event | Rejection)
    assert isinstance(found, Event) or (found.reason in REASONS and len(found.sentence) > 5)


@SEEDED
@given(st.integers() | st.text(alphabet="0123456789.eE+-", max_size=40) | st.floats() | st.none() | st.booleans() | st.lists(st.integers()))
def test_any_value_is_an_exact_quantity_or_refused(value: object) -> None:
    """A quantity reads as an exact multiple of 10⁻¹² that is written back and read again as the same, or is refused."""
    try:
        scaled = parse(value)
    except (BadQuantity, OutOfRange):
        return
    assert not isinstance(value, float | bool)
    assert abs(scaled) <= 10**30
    assert parse(format_scaled(scaled)) == scaled


@SEEDED
@given(st.text(max_size=200), st.integers(0, 700), st.booleans())
def test_any_answer_of_a_provider_is_an_outcome_without_false_proof(body: str, status: int, replayed: bool) -> None:
    """Text of any kind with any status: an outcome, and never `delivered`, since no such text repeats what was asked."""
    answer = Answer(status, body.encode(errors="replace").decode(), {"idempotent-replayed": str(replayed).lower()})
    found = outcome_of(answer, Wanted("si_1", 1, 2))
    assert isinstance(found, Outcome)
    assert not isinstance(found, Delivered)


@SEEDED
@given(st.text(alphabet="ab01[]=&%+;\u0661", max_size=60))
def test_any_form_is_a_tree_or_refused(text: str) -> None:
    """A form of brackets in any order: a tree of bounded depth, or Stripe's 400."""
    try:
        tree = form.decode(text)
    except ApiError as error:
        assert error.status == 400
        return
    assert all(isinstance(name, str) for name in tree)


WRONG = {
    "kafka.partitions": ("partitions = 4", 'partitions = "many"'),
    "kafka.retention": ('retention = "7d"', 'retention = "1s"'),
    "clickhouse.url": ('url = "http://localhost:8123"', 'url = "localhost"'),
    "stripe.calls_per_second": ("calls_per_second = 80", "calls_per_second = 0"),
    "timing.dedup": ('dedup = "7d"', "dedup = 7"),
    "timing.future": ('future = "5m"', 'future = "5"'),
    "meters[0].window": ('window = "1h"', 'window = "hour"'),
    "meters[1].grace": ('grace = "5m"', "grace = -1"),
    "customers[0].items[0].period": ('period = "month"', 'period = "moon"'),
    "customers[0].items[0].scale": ("scale = 1", 'scale = "x"'),
    "customers[0].items[0].period_anchor": ('period_anchor = "2026-11-03T10:23:45Z"', 'period_anchor = "soon"'),
    "customers[0].items[0].meter": ('meter = "api_calls"', 'meter = "nobody"'),
}


@pytest.mark.parametrize("seed", range(40))
def test_every_fault_of_a_file_is_said_at_once(seed: int, tmp_path: Path) -> None:
    """Any set of wrong values in one file: each is named with its place and a remedy, none hides another, and no other place is accused."""
    rng, text = Random(seed), TOML
    chosen = rng.sample(sorted(WRONG), rng.randrange(1, len(WRONG) + 1))
    for place in chosen:
        right, wrong = WRONG[place]
        assert right in text
        text = text.replace(right, wrong, 1)
    path = tmp_path / "tidemark.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationFault) as caught:
        load_settings(path, {})
    assert {fault.place for fault in caught.value.faults} == set(chosen)
    assert all(fault.problem and fault.remedy for fault in caught.value.faults)
