"""The audit's other findings: ids that came twice, re-routed events that never arrived, defects of the meter; what an order means, what is said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from infra.auditing import compare
from infra.auditing.findings import KEPT_A_KIND, Finding, Findings
from infra.auditing.partition import Order, PartitionRun
from infra.auditing.recount import LogRecord, NoMeters, Recount
from infra.auditing.run import audit_all, chosen_partitions
from infra.auditing.show import document, is_clean, show
from streams import adding, hashing, step
from tests.core.audit_world import AuditWorld
from tests.core.meterlog import NOW_MS, PARTITIONS, Log, customers, meters_record, usage
from tests.core.test_audit import finished, numbers
from tests.core.test_fold import HOME, METERS, TIMING
from topics.errors import UsageError
from topics.home import home_of
from topics.instants import format_us
from topics.meters import Meter, Timing


def ids_log() -> tuple[Log, dict[str, int]]:
    """One meter with an hour of dedup: a copy in time, one too late, and one with another body; offsets by what they are."""
    log, hour_ms, (customer, other) = Log(), 3_600_000, customers(2)
    meter, timing = Meter(slug="m", event_type="api.request", value="n", window_s=60), Timing(dedup_ms=hour_ms)
    log.add(*meters_record((meter,), timing), NOW_MS)
    at: dict[str, int] = {}
    for name, who, after_ms, n in (
        ("first", customer, 0, 1), ("copy", customer, 1000, 1), ("conflict", customer, 2000, 2), ("twice", customer, 3 * hour_ms, 1),
        ("other", other, 3 * hour_ms, 5),
    ):  # fmt: skip
        at[name] = log.add(who.encode(), usage(who, "id", format_us(NOW_MS * 1000), {"n": n}), NOW_MS + after_ms)
    return log, at


async def test_ids_counted_twice_and_ids_with_two_bodies_are_named() -> None:
    """A copy beyond `dedup` (A5) and a copy with another body (A6) are named with both offsets and why; a plain duplicate is not."""
    log, at = ids_log()
    found = (await AuditWorld(1, log).audited()).findings.kept
    assert [(finding.kind, finding.offset, finding.one) for finding in found] == [
        ("conflict", at["conflict"], f"offset {at['first']}"),
        ("twice", at["twice"], f"offset {at['first']}"),
    ]
    assert "3h apart, and timing.dedup promises 1h" in found[1].cause
    assert "first stands" in found[0].cause


async def test_what_is_known_by_now_can_be_left_out() -> None:
    """`since` leaves out copies received before it, and `customer` what concerns others, without counting anything less."""
    log, at = ids_log()
    found = await AuditWorld(1, log).audited(since_ms=NOW_MS + 3_600_000)
    assert [finding.offset for finding in found.findings.kept] == [at["twice"]]
    found = await AuditWorld(1, log).audited(customer=customers(2)[1])
    assert found.findings.kept == []
    assert found.recounted["counted"] == 3


def recount_of(partition: int, log: Log) -> Recount:
    """The recount of a whole log."""
    recount = Recount(partition, PARTITIONS, 0, Findings(), lambda *_: None)
    for record in log.records:
        recount.take(LogRecord(record.offset, record.timestamp_ms, record.key, record.value, record.headers))
    return recount


def test_a_re_routed_event_that_never_arrived_is_named() -> None:
    """An event whose copy is on its home's log is found there, one whose copy is gone is named, and one whose home is not audited is counted."""
    homes = {home: next(name for name in (f"c{n}" for n in range(99)) if home_of(name.encode(), PARTITIONS) == home) for home in (1, 2)}
    log, home_log = Log(), Log()
    for each in (log, home_log):
        each.add(*meters_record(METERS, TIMING), NOW_MS)
    arrived, lost, unknown = (
        log.add(homes[home].encode(), usage(homes[home], name, None), NOW_MS) for home, name in ((1, "a"), (1, "b"), (2, "c"))
    )
    origin = (("tidemark-origin-partition", b"0"), ("tidemark-origin-offset", b"%d" % arrived), ("tidemark-received-at", b"%d" % NOW_MS))
    home_log.add(homes[1].encode(), usage(homes[1], "a", None), NOW_MS, origin)
    found = {0: Findings(), 1: Findings()}
    looked = compare.check_rerouted({0: recount_of(0, log), 1: recount_of(1, home_log)}, found)
    assert looked == {0: (1, 1), 1: (0, 0)}
    assert [(finding.kind, finding.offset) for finding in found[0].kept] == [("rerouted", lost)]
    assert unknown not in {finding.offset for finding in found[0].kept}


class Counted(PartitionRun):
    """A partition whose log was counted up to some record when the rest of it came."""

    def __init__(self, partition: int, log: Log, upto: int) -> None:
        super().__init__(AuditWorld(1, log), partition, PARTITIONS, Order())
        self._upto = upto

    async def audit(self) -> None:
        """Count the first records."""
        early = Log()
        early.records = self.source.events.records[: self._upto]
        self.recount, self.is_recounted = recount_of(self.partition, early), True

    @property
    def source(self) -> AuditWorld:
        """The whole log."""
        assert isinstance(self._source, AuditWorld)
        return self._source


async def test_a_copy_that_came_after_its_home_was_read_is_no_loss() -> None:
    """Partitions are read one after the other while events keep coming: a copy that arrived meanwhile is looked for again, and found."""
    customer = next(name for name in (f"c{n}" for n in range(99)) if home_of(name.encode(), PARTITIONS) == 1)
    log, home_log = Log(), Log()
    for each in (log, home_log):
        each.add(*meters_record(METERS, TIMING), NOW_MS)
    away = log.add(customer.encode(), usage(customer, "a", None), NOW_MS)
    origin = (("tidemark-origin-partition", b"0"), ("tidemark-origin-offset", b"%d" % away), ("tidemark-received-at", b"%d" % NOW_MS))
    home_log.add(customer.encode(), usage(customer, "a", None), NOW_MS, origin)
    runs = [Counted(0, log, 2), Counted(1, home_log, 1)]
    await audit_all(runs)
    assert [run.result.findings.kept for run in runs] == [[], []]
    assert [run.result.checked.rerouted for run in runs] == [1, 0]


async def test_a_partition_that_was_audited_is_let_go() -> None:
    """What is kept of a partition for the ones after it is where its events were re-routed to, not its ids, windows and claims."""
    world = finished(2)
    run = PartitionRun(world, 0, PARTITIONS, Order())
    await run.audit()
    assert run.result.checked.windows > 0
    assert run.recount is not None
    assert (run.recount.windows, run.recount._ids, run.recount._desk.rows.count, run._claims.open) == ({}, {}, 0, {})
    assert len(run.recount.sent_home) == run.result.table["rerouted"] > 0


def test_a_partition_without_meters_is_not_counted() -> None:
    """A log that does not begin with a meters record has no meaning, for the audit as for the meter."""
    log = Log()
    log.add(HOME[0].encode(), usage(HOME[0], "a", None), NOW_MS)
    with pytest.raises(NoMeters):
        recount_of(0, log)


def test_the_partitions_of_an_order_exist_and_are_the_customers_home() -> None:
    """No partition means all, a customer means its home, and what cannot be is refused in one sentence."""
    customer = customers(1, partition=2)[0]
    assert chosen_partitions(Order(), 4) == [0, 1, 2, 3]
    assert chosen_partitions(Order(partitions=(3, 1, 3)), 4) == [1, 3]
    assert chosen_partitions(Order(customer=customer), 4) == [2]
    with pytest.raises(UsageError, match="no partition 4"):
        chosen_partitions(Order(partitions=(4,)), 4)
    with pytest.raises(UsageError, match="counted on partition 2"):
        chosen_partitions(Order(partitions=(1,), customer=customer), 4)


async def test_the_document_says_what_was_checked_and_what_was_not() -> None:
    """The JSON of an audit has its points, both accounts, how much was compared, every finding and every gap; a thousand of a kind are enough."""
    world = finished(3)
    audit = await world.audited()
    said = document([audit])
    assert said["clean"] == is_clean([audit])
    (line,) = said["partitions"]
    assert (line["next_offset"], line["recounted"], line["table"]) == (audit.next_offset, audit.recounted, audit.table)
    assert line["checked"]["log_records"] == audit.checked.log_records
    assert said["unchecked"] == ["partition 0: ClickHouse: it was left out"]
    some = Finding(kind="raw", partition=0, what="x", one="a", one_says="1", other="b", other_says="2", cause="why", offset=3)
    for _ in range(KEPT_A_KIND + 5):
        audit.findings.add(some)
    said = document([audit])
    assert not said["clean"]
    assert said["partitions"][0]["found"]["raw"] == KEPT_A_KIND + 5
    assert len([one for one in said["differences"] if one["kind"] == "raw"]) == KEPT_A_KIND
    assert said["differences"][-1]["numbers"] == {"a": "1", "b": "2"}


async def test_a_person_reads_what_was_found_and_what_was_not_checked(capsys: pytest.CaptureFixture[str]) -> None:
    """Printed are the point of each partition, every finding up to the limit in one line, the gaps, and one last word that claims no more."""
    audit = await finished(3).audited()
    audit.findings.kept.clear()
    audit.findings.counts.clear()
    show([audit], 10)
    text = capsys.readouterr().out
    assert f"clean of what could be checked: {audit.checked.log_records} records and {audit.checked.windows} windows" in text
    assert "ClickHouse: it was left out" in text
    for offset in range(12):
        audit.findings.add(
            Finding(kind="raw", partition=0, what="the record", one="a", one_says="1", other="b", other_says="2", cause="why", offset=offset)
        )
    show([audit], 10)
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("  raw: partition 0, offset") for line in lines) == 10
    assert any(line.strip().startswith("… 2 more") for line in lines)
    assert lines[-1] == "12 findings"
    audit.checked.windows = 0
    audit.findings.counts.clear()
    show([audit], 10)
    assert capsys.readouterr().out.splitlines()[-1] == "nothing was counted yet, so there is nothing to compare"


def one_more(original: Any) -> Any:
    """Postings are added, each with 10⁻¹² more."""

    def add(state: Any, slots: Any, of: Any, offsets: Any, amounts: Any, digests: Any) -> None:
        more = amounts.copy()
        more[:, 0] += np.uint64(1)
        original(state, slots, of, offsets, more, digests)

    return add


def in_milliseconds(original: Any) -> Any:
    """Postings are hashed with times in another unit."""
    return lambda heads, names, moments, amounts: original(heads, names, moments // 1000, amounts)


DEFECTS: dict[str, tuple[Any, str, Any]] = {
    "quantities": (step, "add", one_more(adding.add)),
    "duplicates": (step, "first_of_each", lambda digests: np.ones(len(digests), bool)),
    "clock": (step, "dead_before", lambda now_ms, dedup_ms: (now_ms + 1_000_000_000) // 3_600_000),
    "hash": (step, "posting_digests", in_milliseconds(hashing.posting_digests)),
}


@pytest.mark.parametrize("defect", DEFECTS)
async def test_a_defect_of_the_meters_own_code_is_found(defect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recount shares no hot path: a meter that adds, forgets, dates or hashes wrongly, and is at one with itself, differs from it."""
    found: set[str] = set()
    for seed in range(12):
        with monkeypatch.context() as patch:
            patch.setattr(*DEFECTS[defect])
            worlds = [finished(seed), AuditWorld(seed, ids_log()[0])]
        for world in worlds:
            found |= {finding.kind for finding in numbers(await world.audited())}
        if found:
            break
    assert found & {"row", "revision", "counters"}
