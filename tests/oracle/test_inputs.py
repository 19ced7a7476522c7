"""What the system tests send, judged by the oracle alone: every label is the verdict that it claims."""

from __future__ import annotations

from random import Random

from tests.oracle.hashes import java_partition
from tests.oracle.ledger import Ledger, Rules
from tests.oracle.reading import Stored
from tests.system.traffic import Message, bad_inputs, usage
from tests.system.world import FUTURE_S, HORIZON_S, METERS, PARTITIONS

NOW_S = 1_800_000_000.25
RULES = Rules(PARTITIONS, METERS, HORIZON_S, FUTURE_S)


def stored(messages: list[Message]) -> list[Stored]:
    """The messages as a log that places every key at its home."""
    return [
        Stored(
            java_partition(each.key or b"", PARTITIONS) if each.partition is None else each.partition,
            offset,
            int(NOW_S * 1000),
            each.key,
            each.value,
            each.headers,
        )
        for offset, each in enumerate(messages)
    ]


def test_every_bad_input_is_bad_for_its_reason() -> None:
    """The oracle refuses each bad input for the reason on its label, and together they show every reason there is."""
    messages = bad_inputs("t", "acme", NOW_S, PARTITIONS)
    ledger = Ledger(RULES).take_all(stored(messages))
    assert [each.reason for each in ledger.verdicts.values()] == [each.label for each in messages]
    assert not ledger.totals
    assert {each.label for each in messages} == {
        *("too_large", "not_json", "not_cloudevents", "missing_field", "bad_control", "key_mismatch", "routing_loop", "bad_time"),
        *("future", "too_late", "no_meter", "bad_quantity", "out_of_range", "negative"),
    }


def test_usage_is_all_good() -> None:
    """Generated usage is counted but for the copies in it, is the same for the same seed, and touches meters, fractions and late days."""
    customers = ("acme", "globex")
    messages = list(usage(Random(7), "u", customers, 600, NOW_S))
    assert messages == list(usage(Random(7), "u", customers, 600, NOW_S))
    ledger = Ledger(RULES).take_all(stored(messages))
    said = [each.verdict for each in ledger.verdicts.values()]
    assert set(said) == {"counted", "duplicate"}
    assert said.count("counted") == len(ledger.seen) > 500
    assert {span.meter for span in ledger.totals} == {"api_calls", "eu_calls", "tokens", "storage", "credits"}
    assert any(total.quantity.denominator > 1 for total in ledger.totals.values())
    assert any(NOW_S - span.start_s > 2 * 86_400 for span in ledger.totals)
