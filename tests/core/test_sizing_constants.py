"""The constants of sizing against the code that they speak of: a record that grew must not leave them behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra import settings_rules
from infra.sizing import constants as c
from infra.sizing.examples import markdown
from streams.changelog import SPARE_SEGMENTS
from streams.driver import MeterOptions
from streams.early import PASSES
from streams.row_segments import pack_rows
from streams.rows import Row, Rows, revision
from streams.segments import encode_segment
from topics.catalog import DAY_MS, REJECTED, VERDICTS, WINDOWS, catalog
from topics.codec import encode
from topics.receipt import CellReceipt, Standing, WindowPart
from topics.verdict import Counters, Mark, Verdict
from topics.window_total import window_total
from topics.windows import Window

HASH = int.from_bytes(b"\x9e" * 32, "little")
WINDOW = Window("cus_00000001", "api_calls", 1_800_000_000, 1_800_003_600)


def _receipt() -> CellReceipt:
    return CellReceipt(
        provider="stripe", account="acct_1", cell="si_0000000000000001|1800000001", customer="cus_00000001", meter="api_calls",
        item="si_0000000000000001", subscription="sub_000000000001", timestamp_s=1_800_000_001, period_start_s=1_800_000_000,
        period_end_s=1_802_592_000, windows=(WindowPart(window="cus_00000001|api_calls|1800000000|1800003600", generation=0,
        through_offset=22_345_678, quantity="12345"),), revision=1, attempt=1, quantity="12345", units="12345",
        idempotency_key="tm1_" + "a" * 40, path="/v1/subscription_items/si_0000000000000001/usage_records",
        body="action=set&quantity=12345&timestamp=1800000001", state="delivered", intent_at_ms=1_800_003_900_000,
        reported_at_ms=1_800_003_900_100, standing=Standing(revision=1, attempt=1, units="12345", quantity="12345", at_ms=1_800_003_900_100),
    )  # fmt: skip


def _sizes() -> dict[str, tuple[float, int]]:
    total = window_total(
        WINDOW, scaled=12_345 * 10**12, events=512, first_offset=12_345_678, revision=(0, 22_345_678), partition=3, content_hash=HASH
    )
    duplicate = Verdict(
        verdict="duplicate", generation=0, partition=3, offset=12_345_678, customer="cus_00000001", source="edge-1", event_id="0" * 36
    )
    rows = Rows()
    for number in range(1_000):
        rows.add(_row(number))
    counters = Counters(next_offset=12_345_678, counted=12_000_000, duplicate=1_234, postings=12_000_000)
    return {
        "windows": (c.WINDOW_RECORD_BYTES, len(encode(total)) + 130),
        "receipts": (c.RECEIPT_RECORD_BYTES, len(encode(_receipt())) + 120),
        "verdicts": (c.VERDICT_RECORD_BYTES, len(encode(duplicate)) + c.RECORD_BYTES + c.KEY_BYTES),
        "marks": (c.MARK_RECORD_BYTES, len(encode(Mark(generation=0, partition=3, next_offset=12_345_678, counters=counters))) + c.RECORD_BYTES),
        "rows": (c.PACKED_ROW_BYTES, len(encode_segment(pack_rows(rows.store, rows.store.live(), 0, 10**8))) // 1_000),
    }


def _row(number: int) -> Row:
    row = Row(WINDOW._replace(customer=f"cus_{number:08d}"))
    row.scaled, row.events, row.first_offset = 123_456 * 10**12, 500, 10**7
    row.rev = row.emitted = revision(0, 2 * 10**7 + number)
    row.content_hash = HASH
    return row


@pytest.mark.parametrize("record", ["windows", "receipts", "verdicts", "marks", "rows"])
def test_a_records_size_is_what_the_codec_writes(record: str) -> None:
    """Each constant lies within a quarter of what a typical record of today takes with its key, headers and framing."""
    constant, written = _sizes()[record]
    assert 0.75 * written <= constant <= 1.25 * written, f"{record}: the codec writes {written} bytes, constants.py says {constant}"


def test_constants_that_stand_elsewhere_too_agree() -> None:
    """Turns, retentions, spare segments, revision delay and the early passes are those of the code that they describe."""
    assert MeterOptions(partitions=1).turn_ms / 1000 == c.TURN_S
    assert (c.ID_BYTES, c.ID_FILE_BYTES) == (settings_rules.ID_MEMORY_BYTES, settings_rules.ID_FILE_BYTES)
    retentions = {topic.name: topic.retention_ms for topic in catalog()}
    assert {retentions[name] for name in (WINDOWS, VERDICTS, REJECTED)} == {c.OTHER_TOPICS_DAYS * DAY_MS}
    assert pytest.approx(c.SPARE_STATE_BYTES, rel=0.05) == SPARE_SEGMENTS * 4_000 * c.PACKED_ROW_BYTES
    assert PASSES[0].before_ms / 1000 - 60 == c.EARLY_ROOM_S


def test_the_documents_table_is_the_rules() -> None:
    """The examples in infra/docs/sizing.md are what the rule computes now; after a constant was corrected, print them anew."""
    text = (Path(__file__).parents[2] / "infra/docs/sizing.md").read_text(encoding="utf-8")
    assert "\n".join(markdown()) in text, "print the table with `python -m infra.sizing.examples` and put it into infra/docs/sizing.md"
