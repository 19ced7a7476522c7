"""Kafka is gone, the archive is left: what is built from it is what ran."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import msgspec
import pytest

from infra.replaying.archived import Generation, clamped
from infra.replaying.folding import NotWhole, fold_archived, reach_of
from infra.restoring.partition import PartitionRestore
from infra.restoring.ports import OldReceipt
from infra.restoring.run import restore
from streams.adopt import adopt
from streams.rebuild import Rebuild
from streams.segments import COUNTERS
from streams.state import Facts, PartitionState, Rerouting
from tests.core.audit_world import AuditWorld
from tests.core.meterlog import NOW_MS, PARTITIONS, Log, batch_of, meters_record
from tests.core.restore_world import Killed, LostWorld, ModelArchive, NewCluster, clocked_log, plain, raw_rows, restored, rows_of
from tests.core.test_fold import METERS, TIMING
from topics.amendments import Amendment
from topics.catalog import DEFINITIONS, RECEIPTS, STATE, VERDICTS
from topics.codec import encode
from topics.content_hash import MODULUS
from topics.errors import UsageError
from topics.verdict import Counters, Verdict, decode_verdict
from topics.windows import Window


def rebuilt(lost: LostWorld, verdicts: Counter[str] | None = None) -> Rebuild:
    """The archive folded, under the key of ids that the running state has."""
    found = Counter[str]() if verdicts is None else verdicts
    return rebuilt_with(lost, lambda facts: found.update(verdict.verdict for _, verdict in facts.verdicts))


def rebuilt_with(lost: LostWorld, facts: Callable[[Facts], None]) -> Rebuild:
    """The same; what the fold brings is shown."""
    rebuild = Rebuild(0, PARTITIONS, id_key=lost.state.digester.key, writer_epoch=bytes(8))
    generations = lost.archive.generations()
    wrong = fold_archived(rebuild, generations, lost.archive.batches, reach_of(generations), emitted=lost.archive.covered, facts=facts)
    assert wrong == []
    return rebuild


def ids_of(state: PartitionState) -> dict[int, set[bytes]]:
    """Live ids by the hour in which they were counted."""
    state.live_ids()
    return {bucket: {row.tobytes() for row in state.ids.in_bucket(bucket)} for bucket in state.id_counts}


def sums_of(state: PartitionState) -> dict[Window, tuple[int, int, int]]:
    """What a customer is billed for, and its proof."""
    return {row.window: (row.scaled, row.events, row.content_hash % MODULUS) for row in state.rows.all()}


@pytest.mark.parametrize("logs", [1, 2, 3])
@pytest.mark.parametrize("seed", range(8))
def test_the_archive_folds_to_the_state_that_ran(seed: int, logs: int) -> None:
    """Every row with its hash, every counter, every id in its hour, every version, verdict and clock is what the running state holds."""
    lost = LostWorld(seed, logs=logs)
    verdicts: Counter[str] = Counter()
    state, ran = rebuilt(lost, verdicts).state, lost.state
    assert any(isinstance(one, Amendment) for one in rebuilt(lost).published.values()) or not ran.rows.count
    assert plain(state.counters) == plain(ran.counters)
    assert (state.generation, state.closed) == (ran.generation, ran.closed)
    assert {window: row for window, row in rows_of(state).items() if window in rows_of(ran)} == rows_of(ran)
    gone = [row for row in state.rows.all() if row.window not in rows_of(ran)]
    assert all(ran.is_retired(row) for row in gone)
    assert sum(row.events for row in gone) + state.all_retired().events == ran.all_retired().events
    assert ids_of(state) == ids_of(ran)
    assert list(map(encode, state.definitions.all())) == list(map(encode, ran.definitions.all()))
    assert state.definitions.customer_digests == ran.definitions.customer_digests
    assert encode(state.clocks) == encode(ran.clocks)
    assert (state.identity.last_offset, state.identity.last_digest) == (ran.identity.last_offset, ran.identity.last_digest)
    written = (decode_verdict(record.value, "a test") for record in lost.world.logs[VERDICTS].records)
    assert verdicts == Counter(one.verdict for one in written if isinstance(one, Verdict))


@pytest.mark.parametrize("seed", range(6))
async def test_what_is_written_recovers_as_the_next_log_of_what_ran(seed: int) -> None:
    """A meter that recovers from the restored topics holds every row, id and version, goes on at offset 0 of the next generation, and judges what
    comes then (old events sent again, new ones) as the lost one would have."""
    lost, cluster = LostWorld(seed, logs=1 + seed % 2), NewCluster()
    result = await restored(lost, cluster)
    ran, meter = lost.state, cluster.recovered(lost.rng)
    assert (result.done, meter.generation, meter.next_offset) == (True, ran.generation + 1, 0)
    assert (result.windows, result.ids) == (meter.state.rows.count, meter.state.live_ids())
    assert meter.state.live_ids() == ran.live_ids()
    assert rows_of(meter.state).items() >= rows_of(ran).items()
    assert list(map(encode, meter.state.definitions.all())) == list(map(encode, ran.definitions.all()))
    before, now_ms, base = plain(ran.counters), meter.log_now_ms, ran.counters.next_offset
    more = [record for log in (lost.world.events, clocked_log(seed + 77)) for record in log.records[-80:]]
    new, old = Log(), Log()
    old.marker(base)
    for record in more:
        for log in (new, old):
            log.add(record.key, record.value, now_ms, (*record.headers, ("tidemark-received-at", b"%d" % record.timestamp_ms)))
    meter.apply(batch_of(new.records, 0, new.end))
    lost.world.meter.apply(batch_of(old.records, base, old.end))
    after = plain(ran.counters)
    fates = ("counted", "duplicate", "rejected", "too_late", "rerouted", "control", "skipped")
    assert {name: plain(meter.counters)[name] for name in fates} == {name: after[name] - before[name] for name in fates}
    assert sums_of(meter.state).items() >= sums_of(ran).items()


@pytest.mark.parametrize("seed", range(4))
async def test_definitions_and_receipts_stand_as_compaction_would_have_left_them(seed: int) -> None:
    """The last record of each key of usage.definitions and usage.receipts is, byte for byte, what the lost topics held."""
    lost, cluster = LostWorld(seed, logs=1 + seed % 2), NewCluster()
    await restored(lost, cluster)
    before = {record.key: record.value for record in lost.world.logs[DEFINITIONS].records}
    assert {record.key: record.value for record in cluster.log(DEFINITIONS).records} == before
    assert {record.key: record.value for record in cluster.log(RECEIPTS).records} == {key: one.value for key, one in lost.archive.kept.items()}


@pytest.mark.parametrize("seed", range(6))
async def test_only_what_no_receipt_holds_is_emitted_again(seed: int) -> None:
    """A revision that a receipt holds is not emitted again, any other is, and each as the very total that it was."""
    lost, cluster = LostWorld(seed), NewCluster()
    result = await restored(lost, cluster)
    meter = cluster.recovered(lost.rng)
    far_ms = meter.log_now_ms + 10 * 86_400_000
    for _ in range(2):
        meter.tick(far_ms, meter.durable_offset)
    told = lost.archive.told
    emissions = meter.due(far_ms, limit=100_000)
    assert result.again == sum(told.get(clamped(row.window), -1) < row.rev for row in meter.state.rows.all())
    assert all(told.get(clamped(emission.row.window), -1) < emission.rev for emission in emissions)
    own = {row.window for row in meter.state.rows.all() if meter.state.definitions.clock_of(row.window.customer)}
    assert {one.row.window for one in emissions} | own >= {
        row.window for row in meter.state.rows.all() if told.get(clamped(row.window), -1) < row.rev
    }


@pytest.mark.parametrize("seed", range(3))
async def test_a_restore_killed_at_any_record_converges(seed: int) -> None:
    """However often a restore is killed, after any acknowledged record, the next one ends with the same topics, and until then nothing counts."""
    lost = LostWorld(seed, length=120, logs=1 + seed % 2)
    whole = NewCluster()
    await restored(lost, whole)
    wanted = rows_of(whole.recovered(lost.rng).state)
    total = sum(log.end for log in whole.topics.values())
    for killed_after in range(0, total, max(1, total // 25)):
        cluster, rng = NewCluster(), random.Random(killed_after)
        for left in (killed_after, rng.randrange(total)):
            cluster.left = min(left, total - cluster.log(RECEIPTS).end - 1)  # receipts that stand are not written again
            with pytest.raises(Killed):
                await restored(lost, cluster)
            assert not any(record.key and record.key[:1] == COUNTERS and record.value for record in cluster.log(STATE).records)
        cluster.left = None
        result = await restored(lost, cluster)
        meter = cluster.recovered(lost.rng)
        assert (result.done, rows_of(meter.state)) == (True, wanted)
        assert (meter.generation, meter.state.live_ids()) == (lost.state.generation + 1, lost.state.live_ids())
        for topic in (DEFINITIONS, RECEIPTS):
            assert {r.key: r.value for r in cluster.log(topic).records} == {r.key: r.value for r in whole.log(topic).records}
        assert (await restored(lost, cluster)).condition == "restored"


async def test_the_report_starts_anew_before_anything_can_be_emitted() -> None:
    """Report and archive are ended when receipts are written and no partition is valid yet, the meters when all are."""
    lost, cluster = LostWorld(3), NewCluster()
    seen: list[tuple[frozenset[str], bool, bool]] = []

    async def end(kinds: frozenset[str]) -> None:
        valid = any(record.key and record.key[:1] == COUNTERS and record.value for record in cluster.log(STATE).records)
        seen.append((kinds, valid, cluster.log(RECEIPTS).end == len(lost.archive.kept)))

    cluster.end = end  # type: ignore[method-assign]
    await restored(lost, cluster)
    assert seen == [(frozenset({"report", "archive"}), False, True), (frozenset({"meter"}), True, True)]


@pytest.mark.parametrize("seed", range(4))
async def test_what_the_archive_did_not_have_is_said(seed: int) -> None:
    """Offsets that were counted and not archived are named, each window emitted with one of them with both totals, and the rest is restored."""
    lost = LostWorld(seed, lag=40)
    end = lost.archive.generations()[-1].whole_to
    result = await restored(lost, NewCluster(), yes=False)
    assert (result.condition, result.done, result.next_offset) == ("lost", False, end)
    assert f"offsets {end} to {lost.state.counters.next_offset - 1} were counted and are not in the archive" in result.lost[0]
    beyond = {window: held for window, held in ((w, h[max(h)]) for w, h in lost.archive.emitted.items()) if held.rev & (1 << 64) - 1 >= end}
    assert {each.window: each.emitted for each in result.lost_windows} == beyond
    truth = AuditWorld(seed, lost.world.events, until=end)
    rows = {clamped(row.window): row for row in truth.meter.state.rows.all()}
    for each in result.lost_windows:
        row = rows.get(each.window)
        assert (each.scaled, each.events) == ((row.scaled, row.events) if row else (0, 0))


def home_archive(partition: int, copies: list[Rerouting]) -> ModelArchive:
    """Another partition's archive, which holds these copies of re-routed events."""
    log, archive = Log(), ModelArchive()
    archive.partition = partition
    log.add(*meters_record(METERS, TIMING), NOW_MS)
    for copy in copies:
        received_ms = int(dict(copy.headers)["tidemark-received-at"])
        log.add(copy.key, copy.value, received_ms + 300, tuple(copy.headers))
    rows = raw_rows(log, 0, log.end)
    archive.logs.append((rows, Generation(0, 0, log.end, log.end, Counters())))
    fold = Rebuild(partition, PARTITIONS, id_key=bytes(16), writer_epoch=bytes(8))
    for batch in archive.batches(0, 0, log.end):
        fold.fold(batch)
    archive.logs[0] = (rows, Generation(0, 0, log.end, log.end, fold.state.counters))
    return archive


@pytest.mark.parametrize("seed", range(3))
async def test_rerouted_events_that_never_arrived_are_sent_home(seed: int) -> None:
    """Of the events that were sent home before the loss exactly those go there again whose copy the home's archive lacks, as they were sent."""
    lost, cluster, sent = LostWorld(seed), NewCluster(), []
    rebuilt_with(lost, lambda facts: sent.extend(facts.rerouted))
    home = sent[-1].home
    recent_ms = max(int(dict(one.headers)["tidemark-received-at"]) for one in sent) - 3_600_000
    arrived = [one for one in sent if one.home == home and lost.rng.random() < 0.6]
    both = [
        PartitionRestore(number, PARTITIONS, archive, cluster, random_bytes=lost.rng.randbytes)
        for number, archive in ((0, lost.archive), (home, home_archive(home, arrived)))
    ]
    results = await restore(both, cluster, cluster, yes=True)
    missing = [one for one in sent if one not in arrived and int(dict(one.headers)["tidemark-received-at"]) >= recent_ms]
    found = [(record.key, record.value, record.headers) for record in cluster.log("usage.events", home).records]
    assert {(one.key, one.value, tuple(one.headers)) for one in missing} <= set(found)
    assert not {(one.key, one.value, tuple(one.headers)) for one in arrived} & set(found)
    assert [(result.done, result.sent_home) for result in results] == [(True, 0), (True, len(found))]
    assert found


async def test_a_dry_run_writes_nothing() -> None:
    """Without `yes` no record, no archiving position and no worker is touched."""
    lost, cluster = LostWorld(5), NewCluster(left=0)
    result = await restored(lost, cluster, yes=False)
    assert (result.condition, result.done, result.windows > 0) == ("lost", False, True)
    assert (lost.archive.went_on, cluster.ended) == ([], [])


async def test_a_cluster_that_holds_the_state_is_left_alone() -> None:
    """Where the state is as far as the archive, nothing is written; where it has begun anew below the archive, the restore refuses."""
    lost, cluster = LostWorld(6), NewCluster()
    cluster.topics[STATE] = lost.world.logs[STATE]
    result = await restored(lost, cluster)
    assert (result.condition, result.done, cluster.ended) == ("there", False, [])
    anew = NewCluster()
    anew.topics[STATE] = AuditWorld(7, clocked_log(7), until=20).logs[STATE]
    with pytest.raises(UsageError, match="begun to count it anew"):
        await restored(lost, anew)


async def test_an_idle_meter_that_found_nothing_is_no_state() -> None:
    """The counters that a meter writes when it takes an empty partition do not stand in the way, and are gone afterwards."""
    lost, cluster = LostWorld(8), NewCluster()
    idle = AuditWorld(1, Log())
    cluster.topics[STATE] = idle.logs[STATE]
    assert cluster.log(STATE).end > 0
    result = await restored(lost, cluster)
    assert (result.condition, result.done) == ("lost", True)
    assert rows_of(cluster.recovered(lost.rng).state).items() >= rows_of(lost.state).items()


@pytest.mark.parametrize("damage", ["dropped", "receipt"])
async def test_an_archive_that_lost_something_is_no_base(damage: str) -> None:
    """Where a raw row is gone, or a receipt has no bytes, the restore says so and writes nothing."""
    lost, cluster = LostWorld(9), NewCluster()
    if damage == "dropped":
        rows, _ = lost.archive.logs[-1]
        del rows[len(rows) // 2]
    else:
        key = next(iter(lost.archive.kept))
        lost.archive.kept[key] = OldReceipt(key, b"", "delivered")
    with pytest.raises(NotWhole):
        await restored(lost, cluster)
    assert cluster.topics.get(STATE, Log()).end == 0


async def test_an_archive_that_is_younger_than_its_log_is_no_base() -> None:
    """Where the copy lacks the log's beginning, the restore says that it is the archive that is too young, and writes nothing."""
    lost, cluster = LostWorld(9), NewCluster()
    rows, _ = lost.archive.logs[-1]
    del rows[:40]
    with pytest.raises(NotWhole, match="does not begin with its meters"):
        await restored(lost, cluster)
    assert cluster.topics.get(STATE, Log()).end == 0


async def test_archiving_goes_on_in_the_new_logs() -> None:
    """A topic that ends before what is archived of it is archived from its beginning as the next log; one that is there already is not."""
    lost, cluster = LostWorld(10), NewCluster()
    lost.archive.at = {DEFINITIONS: 5, RECEIPTS: (2 << 48) + 9, VERDICTS: 0}
    await restored(lost, cluster)
    places, generation, begin = lost.archive.went_on[0]
    assert places == {DEFINITIONS: 1 << 48, RECEIPTS: 3 << 48}
    assert (generation, begin) == (lost.state.generation + 1, 0)


def test_a_generation_that_left_no_trace_is_passed_over() -> None:
    """Where a total names a generation of which no mark was archived, the next one is greater than it, and the state recovers."""
    lost = LostWorld(11)
    rebuild = rebuilt(lost)
    sends = [send for portion in rebuild.segments(lost.archive.covered) for send in portion]
    cluster = NewCluster()
    for send in (*sends, rebuild.counters(generation=4, begin=7, cluster_id="new")):
        cluster.log(STATE).add(send.key, send.value, 0)
    meter = cluster.recovered(lost.rng)
    assert (meter.generation, meter.next_offset, meter.state.closed) == (4, 7, [lost.state.counters.next_offset, 0, 0, 0])
    assert rows_of(meter.state).items() >= rows_of(lost.state).items()


def test_adopting_in_one_go_is_what_adopt_writes() -> None:
    """A generation begun in the rebuild is the state that a recovery finds behind `tidemark adopt`."""
    lost = LostWorld(12)
    written = adopt(lost.state, lost.world.meter.changelog, begin=3, cluster_id="")
    rebuild = rebuilt(lost)
    rebuild.begin_generation(3)
    recovered = NewCluster()
    recovered.topics[STATE] = lost.world.logs[STATE]
    recovered.log(STATE).add(written.key, written.value, 0)
    state = recovered.recovered(lost.rng).state
    mine = rebuild.state
    assert plain(mine.counters) == plain(state.counters)
    assert (mine.generation, mine.closed) == (state.generation, state.closed)
    assert msgspec.structs.astuple(mine.clocks) == msgspec.structs.astuple(state.clocks)


