"""H38, laws 2, 3, 7: a correction is applied twice, to a window that nobody can change any more, or from a total that is no more so."""

from __future__ import annotations

import json
import random
from fractions import Fraction

from sinks.clickhouse.in_force import InForce
from sinks.clickhouse.rows import RawRecord, RawRows
from sinks.clickhouse.tables import RAW
from streams.adopt import adopt
from streams.conservation import postings_residual, residual
from tests.core.amend_story import LONG_MS, SHORT_MS, Cut, Story
from tests.core.amend_world import Account, Bench, totals
from tests.core.meterlog import fresh
from tests.hazards.fold import clean


def told(seed: int) -> Story:
    """A life with amendments, crashes, emissions and, in half of the seeds, windows that become final."""
    story = Story(seed, SHORT_MS if seed % 2 else LONG_MS)
    for _ in range(30):
        story.turn()
    story.settle()
    return story


def seeded(seed: int) -> list[str]:
    """Of random voids, sets and corrections exactly those act that must; every row is a naive recount, in this life and in one without crashes or
    emissions; a log that is recreated and says all of them again changes nothing."""
    story = told(seed)
    bench, faults = story.bench, []
    account = Account()
    account.take(bench.log.records, story.acting)
    calm = Bench()
    calm.log = bench.log
    for batch in calm.log.batches(0, Cut(random.Random(seed).choice((1, 1_000_000)))):  # type: ignore[arg-type]
        calm.partition.apply(batch)
    for name, partition in (("", bench.partition), ("calm ", calm.partition)):
        counters, wanted, found = partition.counters, account.totals(), totals(partition)
        faults += [f"{name}row {key} holds {held}, truth {wanted.get(key)}" for key, held in found.items() if held != wanted.get(key)]
        if story.horizon_ms == LONG_MS:
            faults += [f"{name}row {key} is gone" for key in wanted if key not in found]
        if (counters.control, residual(partition.state), postings_residual(partition.state)) != (1 + len(story.acting), 0, 0):
            faults.append(f"{name}{counters.control} control records, {1 + len(story.acting)} must act; residuals, if any, of {counters}")
    bench.save()
    calm.save()  # a flush lets go of what can no longer matter
    if sorted(bench.partition.state.amended.links()) != sorted(calm.partition.state.amended.links()):
        faults.append("two lives of one log remember other amendments")
    return faults + _archived(story) + _said_again(story)


def _archived(story: Story) -> list[str]:
    """Raw rows of amendments that act have their postings."""
    records = [record for record in story.bench.log.records if record.offset in story.acting]
    raw = [RawRecord(record.offset, record.timestamp_ms, record.key, record.value, record.headers) for record in records]
    columns = dict(zip(RAW.names, RawRows(0, 0, InForce()).columns(raw), strict=True))
    faults = []
    for record, meters, quantities in zip(records, columns["meters"], columns["quantities"], strict=True):
        wanted = [(one["meter"].encode(), Fraction(one["quantity"])) for one in json.loads(record.value or b"")["data"]["postings"]]
        if list(zip(meters, map(Fraction, quantities), strict=True)) != wanted:
            faults.append(f"amendment {record.offset} is archived with {meters} {quantities}, it says {wanted}")
    return faults


def _said_again(story: Story) -> list[str]:
    """The log is recreated with the same records: the state is adopted, and everything in it is a copy."""
    bench = story.bench
    before = totals(bench.partition)
    record = adopt(bench.partition.state, bench.partition.changelog, begin=0, cluster_id="another")
    bench.disk.append(record.key, record.value)
    bench.partition = fresh(bench.disk, bench.rng)
    bench.fold(save=False)
    if totals(bench.partition) != before:
        return ["a recreated log with the same records changed totals"]
    return [] if bench.partition.counters.postings == postings_of(bench) else ["postings of a recreated log are counted again"]


def postings_of(bench: Bench) -> int:
    """Events of all rows, live and let go."""
    state = bench.partition.state
    return sum(row.events for row in state.rows.all()) + state.all_retired().events


def test_h38_an_amendment_acts_once_and_only_where_it_can() -> None:
    """Voids, sets and corrections act once, in order, on live windows, from what holds when they are read; every life of the log agrees."""
    assert not clean(seeded, 40)
