"""`tidemark.amend`: a correction is an event of its own; it adds to its window like one, once, and only where it can."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest

from infra.control import binding_event, clock_event
from streams.adopt import adopt
from streams.conservation import postings_residual, residual
from streams.segments import CounterRecord, decode_segment, encode_segment
from tests.core.amend_story import Cut, Story
from tests.core.amend_world import DAY, FIRST, HOUR, LATER_MS, NOW_S, SIGNED, Account, Bench, correct_data, entry, totals, void_data, voided
from tests.core.meterlog import NOW_MS
from topics.amendments import NO_ROW
from topics.bindings import Item
from topics.clocks import CLOCK_TYPE, ClockRecord
from topics.errors import CorruptState
from topics.meters import Timing


def test_a_void_takes_its_event_out_of_every_window() -> None:
    """The window holds what it held less the event; the amendment is one entry more, and the row's newest revision is its own."""
    bench = Bench()
    bench.event(5)
    offset = bench.event(7)
    amendment = bench.amend(voided(offset, 7))
    bench.fold(save=False)
    assert bench.refusals() == []
    assert bench.total() == (5, 3)
    assert bench.total(DAY) == (5, 3)
    counters = bench.partition.counters
    assert (counters.counted, counters.control, counters.postings) == (2, 2, 6)
    assert (residual(bench.partition.state), postings_residual(bench.partition.state)) == (0, 0)
    account = Account()
    account.take(bench.log.records, {amendment})
    assert totals(bench.partition) == account.totals()


def test_an_amended_window_is_emitted_again() -> None:
    """A window that was emitted before shows a higher revision with the corrected total; one amendment to a closed window needs no event."""
    bench = Bench()
    offset = bench.event(7, NOW_S - 3600)
    bench.fold()
    later = NOW_MS + 2_000_000
    for at_ms in (later, later + 1, later + 2):
        bench.partition.tick(at_ms, bench.partition.durable_offset)
    first = bench.partition.due(later)
    bench.partition.end_emission(first)
    bench.amend(void_data(offset, [entry(HOUR, NOW_S - 3600, "-7")]), NOW_S - 3600)
    bench.fold()
    bench.partition.tick(later + 10, None)
    bench.partition.tick(later + 60_000, None)
    said = [json.loads(emission.send.value or b"") for emission in bench.partition.due(later + 60_000)]
    assert [(one["meter"], one["quantity"], one["events"], one["through_offset"]) for one in said] == [("calls", "0", 2, 2)]
    assert ("calls", "7") in [(json.loads(one.send.value or b"")["meter"], json.loads(one.send.value or b"")["quantity"]) for one in first]


def test_of_two_amendments_made_at_once_one_acts() -> None:
    """Two people void the same event at the same moment: the first in the log acts, the second is refused and changes nothing."""
    bench = Bench()
    offset = bench.event(7)
    bench.amend(voided(offset, 7))
    bench.amend({**voided(offset, 7), "who": "bob"})
    bench.fold(save=False)
    assert bench.total() == (0, 2)
    (sentence,) = bench.refusals()
    assert "it replaces amendment none, but" in sentence


def test_the_same_record_twice_acts_once() -> None:
    """A producer that sends an amendment again after a lost acknowledgement changes nothing, and is told so."""
    bench = Bench()
    offset = bench.event(7)
    bench.amend(voided(offset, 7))
    bench.log.add(FIRST.encode(), bench.log.records[-1].value, LATER_MS)
    bench.fold(save=False)
    assert bench.total() == (0, 2)
    assert bench.refusals() == ["it was taken already: the same amendment is in force"]


def test_an_event_is_amended_again_by_naming_what_is_in_force() -> None:
    """A set, another set, and a void of one event in turn: each names the one before it; one that names an older is refused."""
    bench = Bench()
    offset = bench.event(7)
    digest = ""
    for delta, wanted in (("-4", 3), ("6", 9), ("-9", 0)):
        bench.amend(void_data(offset, [entry(HOUR, NOW_S + 60, delta)], replaces=digest, kind="set"))
        bench.fold(save=False)
        assert bench.total()[0] == wanted
        digest = bench.digests()[-1]
    bench.amend(void_data(offset, [entry(HOUR, NOW_S + 60, "1")], replaces=bench.digests()[0], kind="set"))
    bench.fold(save=False)
    assert bench.total() == (0, 4)
    assert len(bench.refusals()) == 1


@pytest.mark.parametrize("saved", [False, True])
def test_a_crash_forgets_no_amendment(saved: bool) -> None:
    """After a restart the total, and what is in force of each event, are those of the log, whether the flush was done before or not."""
    bench = Bench()
    offset = bench.event(7)
    bench.fold()
    bench.amend(void_data(offset, [entry(HOUR, NOW_S + 60, "-4")], kind="set"))
    bench.fold(save=saved)
    bench.restart()
    assert bench.total() == ((3, 2) if saved else (7, 1))
    bench.amend({**voided(offset, 7), "who": "bob"})
    bench.fold(save=False)
    assert bench.total() == (3, 2)
    assert len(bench.refusals()) == 1


def test_a_lost_amendment_halts() -> None:
    """A changelog that lost an amendment's segment is no state to bill from: a stale one could act."""
    bench = Bench()
    offset = bench.event(7)
    bench.fold()
    bench.amend(voided(offset, 7))
    bench.fold()
    kept = [record for record in bench.disk.records if not (record[0] or b"").startswith(b"d") or b"amendment" not in (record[1] or b"")]
    assert len(kept) == len(bench.disk.records) - 1
    bench.disk.records = kept
    with pytest.raises(CorruptState, match="amendments"):
        bench.restart()


def test_segments_of_an_older_program_are_read() -> None:
    """A counters record written before there were amendments is read as one that has none."""
    bench = Bench()
    bench.event(7)
    bench.fold()
    cut: list[tuple[bytes | None, bytes | None, int]] = []
    for key, value, at in bench.disk.records:
        if (key or b"").startswith(b"c"):
            record = decode_segment(b"c", value or b"", "test")
            assert isinstance(record, CounterRecord)
            cut.append((key, encode_segment(_Old(*[getattr(record, name) for name in record.__struct_fields__[:-1]])), at))  # type: ignore[arg-type]
        else:
            cut.append((key, value, at))
    bench.disk.records = cut
    bench.restart()
    assert bench.total() == (7, 1)


class _Old(list[Any]):
    """A counters record as an older program wrote it."""

    def __init__(self, *fields: Any) -> None:
        super().__init__(fields)


def test_what_is_in_force_is_forgotten_once_nothing_can_change() -> None:
    """The meter's memory of amendments lasts as long as any window of their event may change, and recovers to the same."""
    bench = Bench(Timing(horizon_ms=7_200_000))
    offset = bench.event(7, NOW_S + 60)
    bench.amend(voided(offset, 7))
    bench.fold()
    assert len(bench.partition.state.amended.links()) == 1
    bench.event(1, NOW_S + 3 * 86_400, at_ms=NOW_MS + 3 * 86_400_000)
    bench.fold()
    assert bench.partition.state.amended.links() == []
    bench.restart()
    assert bench.partition.state.amended.links() == []


def test_a_meter_that_takes_negative_quantities_may_be_amended_below_zero() -> None:
    """A window of a signed meter may hold less than nothing after an amendment."""
    bench = Bench()
    offset = bench.event(-2, event_type="wallet.change")
    bench.event(-3, event_type="wallet.change")
    bench.amend(void_data(offset, [entry(SIGNED, NOW_S + 60, "-5")], kind="set"))
    bench.fold(save=False)
    assert bench.total(SIGNED) == (-10, 3)


def test_a_correction_acts_on_the_revision_that_it_was_computed_from() -> None:
    """A window's total is corrected only while it is what the correction was computed from: a stale one never acts, nor does one sent twice."""
    bench = Bench()
    bench.event(5)
    through = bench.event(7)
    bench.amend(correct_data([entry(HOUR, NOW_S + 60, "30", (0, through))]))
    bench.fold(save=False)
    assert bench.total() == (42, 3)
    bench.log.add(FIRST.encode(), bench.log.records[-1].value, LATER_MS)
    bench.event(1)
    bench.amend(correct_data([entry(HOUR, NOW_S + 60, "30", (0, through + 1))]))
    bench.fold(save=False)
    assert bench.total() == (43, 4)
    assert ["compute it again" in said for said in bench.refusals()] == [True, True]


def test_a_correction_may_begin_a_window_that_was_lost() -> None:
    """Where nothing of a window is held a correction begins it, events that follow join it, and where there is a row it is refused."""
    bench = Bench()
    bench.event(1, NOW_S - 4000)
    bench.event(2, NOW_S + 60, customer=FIRST)
    data = correct_data([entry(HOUR, NOW_S + 3700, "30", (NO_ROW, NO_ROW))])
    begun = bench.amend(data, NOW_S + 3700, at_ms=NOW_MS + 3_900_000)
    bench.event(4, NOW_S + 3800, at_ms=NOW_MS + 4_000_000)
    again = bench.amend({**data, "who": "bob"}, NOW_S + 3700, at_ms=NOW_MS + 4_000_000)
    bench.fold(save=False)
    assert bench.total(at_s=NOW_S + 3700) == (34, 2)
    assert [f"at revision 0.{again - 1}" in said for said in bench.refusals()] == [True]
    assert bench.partition.state.rows.across(FIRST, "calls", NOW_S + 3700) is not None
    account = Account()
    account.take(bench.log.records, {begun})
    assert totals(bench.partition) == account.totals()
    bench.save()
    bench.restart()
    assert totals(bench.partition) == account.totals()


def test_a_correction_begins_no_window_that_the_meter_has_not() -> None:
    """Where the customer's grid has no such window nothing is begun."""
    bench = Bench()
    bench.event(1)
    posting = {**entry(HOUR, NOW_S + 3700, "30", (NO_ROW, NO_ROW)), "end": "2026-11-21T01:30:00Z"}
    bench.amend(correct_data([posting]), NOW_S + 3700, at_ms=NOW_MS + 4_000_000)
    bench.fold(save=False)
    assert ["is no window of this customer" in said for said in bench.refusals()] == [True]


def test_a_copy_that_was_seen_only_as_a_duplicate_does_not_split_a_window() -> None:
    """A correction that begins a window which the reader knew of from duplicates alone leaves one row, which later events join."""
    bench = Bench(Timing(dedup_ms=7 * 86_400_000))
    at_s = NOW_S + 60
    first = bench.event(1, at_s)
    # The same id again with another time: a duplicate whose window holds nothing.
    record = json.loads(bench.log.records[first].value or b"")
    record["time"] = "2026-11-21T00:31:00Z".replace("00:31", "01:02")
    bench.log.add(FIRST.encode(), json.dumps(record).encode(), NOW_MS + 4_000_000)
    bench.amend(correct_data([entry(HOUR, NOW_S + 3700, "30", (NO_ROW, NO_ROW))]), NOW_S + 3700)
    bench.event(4, NOW_S + 3800, at_ms=NOW_MS + 4_000_001)
    bench.partition.apply(next(iter(bench.log.batches(0, Cut(1_000_000)))))  # type: ignore[arg-type]
    assert bench.refusals() == []
    assert bench.total(at_s=NOW_S + 3700) == (34, 2)


def test_what_was_accepted_changes_nothing() -> None:
    """An `accept` names an event, posts nothing, acts in a final window too, and stands in the way of no later amendment."""
    bench = Bench(Timing(horizon_ms=7_200_000))
    offset = bench.event(7)
    bench.amend({**void_data(offset, []), "kind": "accept"})
    bench.amend(voided(offset, 7))
    bench.event(1, NOW_S + 86_400, at_ms=NOW_MS + 2 * 86_400_000)
    bench.amend({**void_data(offset, []), "kind": "accept"}, at_ms=NOW_MS + 2 * 86_400_000)
    bench.fold(save=False)
    assert bench.refusals() == []
    assert (bench.partition.counters.control, bench.partition.counters.too_late) == (4, 1)
    assert bench.total() == (0, 2)


def test_a_recreated_log_takes_no_amendment_twice() -> None:
    """After `adopt` the old amendments are held: a mirrored log that says them again changes nothing, and a new one names the old event."""
    bench = Bench()
    offset = bench.event(7)
    other = bench.event(5)
    bench.amend(voided(offset, 7))
    bench.fold()
    record = adopt(bench.partition.state, bench.partition.changelog, begin=0, cluster_id="another")
    bench.disk.append(record.key, record.value)
    bench.restart()
    bench.fold(save=False)
    assert bench.total() == (5, 3)
    assert bench.partition.counters.duplicate == 2
    assert len(bench.refusals()) == 1
    bench.amend(voided(other, 5))
    bench.fold(save=False)
    assert bench.total() == (0, 4)


def test_a_clocks_customer_is_amended_in_its_own_time() -> None:
    """Where a test clock says what is final it says so for amendments; nothing is forgotten early or late over a restart."""
    bench = Bench(Timing(horizon_ms=7_200_000))
    items = (Item(meter="calls", item="si_1", period_anchor_s=NOW_S, clock="clock_1"),)
    bound = binding_event(FIRST, items, None)
    bench.log.add(bound.key, bound.value, LATER_MS)
    said = clock_event(FIRST, ClockRecord(clock="clock_1", now_s=NOW_S))
    assert CLOCK_TYPE.encode() in said.value
    bench.log.add(said.key, said.value, LATER_MS)
    offset = bench.event(7)
    bench.amend(void_data(offset, [entry(HOUR, NOW_S + 60, "-3")], kind="set"), at_ms=NOW_MS + 40 * 86_400_000)
    bench.fold()
    assert bench.total() == (4, 2)
    bench.restart()
    assert bench.total() == (4, 2)
    gone = clock_event(FIRST, ClockRecord(clock="clock_1", now_s=NOW_S + 86_400))
    bench.log.add(gone.key, gone.value, NOW_MS + 40 * 86_400_000)
    bench.amend(void_data(offset, [entry(HOUR, NOW_S + 60, "-4")], replaces="x"), at_ms=NOW_MS + 40 * 86_400_000)
    bench.fold()
    bench.restart()
    assert bench.total() == (4, 2)


def test_decimal_amendments_are_exact() -> None:
    """Twelve places are kept, and a total comes back to exactly what it was."""
    bench = Bench()
    offset = bench.event("0.000000000001")
    bench.event("999999999999999999.999999999999")
    bench.amend(void_data(offset, [entry(HOUR, NOW_S + 60, "-0.000000000001")]))
    bench.fold(save=False)
    assert bench.total() == (Fraction(10**30 - 1, 10**12), 3)


@pytest.mark.parametrize("seed", range(12))
def test_totals_after_any_amendments_are_a_naive_recount(seed: int) -> None:
    """Random events, copies, voids, sets, corrections, races and stale ones, over random cuts, crashes and restarts: every total, count, revision
    and hash of every window is what an account without the product's code adds up, and the partition's sums are conserved.
    """
    story = Story(seed)
    for _ in range(40):
        story.turn()
    story.settle()
    account = Account()
    account.take(story.bench.log.records, story.acting)
    assert totals(story.bench.partition) == account.totals()
    state = story.bench.partition.state
    assert (residual(state), postings_residual(state)) == (0, 0)
    assert state.counters.control == 1 + len(story.acting)
    assert state.counters.rejected == story.made - len(story.acting)
    assert len(story.acting) > 8


@pytest.mark.parametrize("seed", range(4))
def test_a_log_with_amendments_is_folded_alike_in_any_cut(seed: int) -> None:
    """The same log folded anew from its start, record by record or at once, gives the same rows and the same memory of amendments."""
    story = Story(100 + seed)
    for _ in range(30):
        story.turn()
    story.settle()
    for cut in (1, 1_000_000):
        other = Bench()
        other.log = story.bench.log
        for batch in other.log.batches(0, Cut(cut)):  # type: ignore[arg-type]
            other.partition.apply(batch)
        assert totals(other.partition) == totals(story.bench.partition)
        assert other.partition.state.amended.links() == story.bench.partition.state.amended.links()
        assert other.partition.counters == story.bench.partition.counters
