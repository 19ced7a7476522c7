"""A world that lost its Kafka: what the archive kept of an `AuditWorld`, an empty cluster beside it, and a restore that may be killed at any step."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from infra.amending.drafts import correct
from infra.auditing.sources import Kept
from infra.control import binding_event, clock_event, flush_event
from infra.replaying.archived import Generation, Held, batch_of, clamped
from infra.restoring.partition import PartitionRestore, PartitionResult
from infra.restoring.ports import Archive, OldReceipt
from infra.restoring.run import restore
from sinks.clickhouse.in_force import InForce
from sinks.clickhouse.rows import RawRecord, RawRows
from sinks.clickhouse.tables import RAW
from streams.partition import MeterPartition
from streams.rows import Row, revision, split_revision
from streams.sends import Send
from streams.state import PartitionState
from tests.core.audit_world import AuditWorld, busy_log
from tests.core.meterlog import NOW_MS, PARTITIONS, Log
from tests.core.test_fold import HOME
from topics.batch import Batch, Headers
from topics.bindings import Item
from topics.catalog import STATE, VERDICTS
from topics.clocks import ClockRecord
from topics.codec import encode
from topics.content_hash import MODULUS
from topics.quantity import ONE
from topics.receipt import WindowReceipt, receipt_key
from topics.verdict import Counters, Mark, decode_verdict
from topics.windows import Window, window_key


def clocked_log(seed: int, length: int = 300) -> Log:
    """`busy_log`, in which one customer begins to live by a test clock on the way, its clock moves, and flushes come."""
    rng, log, clocked = random.Random(seed), Log(), "cus_clocked"
    customer = HOME[-1]
    items = (Item(meter="eu_bytes", item="si_clock", period_anchor_s=NOW_MS // 1000, clock=clocked),)
    before, moves = -1, 0
    for record in busy_log(seed, length).records:
        log.marker(record.offset - before - 1)
        before = record.offset
        log.add(record.key, record.value, record.timestamp_ms, record.headers)
        now_s = record.timestamp_ms // 1000
        if record.offset and rng.random() < 0.03:
            moves += 1
            bound = binding_event(customer, items, None)
            moved = clock_event(customer, ClockRecord(clock=clocked, now_s=now_s - 3600 + 900 * moves))
            flush = flush_event(rng.choice(HOME), now_s, str(rng.random()))
            for event in rng.sample([bound, moved, flush], 3):
                log.add(event.key, event.value, record.timestamp_ms)
    log.marker(rng.randrange(3))
    return log




def raw_rows(log: Log, generation: int, until: int) -> list[tuple[Any, ...]]:
    """The log below an offset through the archive's own columns, as rows of `queries/audit_records.sql`."""
    kept = [RawRecord(r.offset, r.timestamp_ms, r.key, r.value, r.headers) for r in log.records if r.offset < until]
    columns = dict(zip(RAW.names, RawRows(0, generation, InForce()).columns(kept), strict=True))
    value = columns["value"]
    wanted = (columns[n] for n in ("kafka_offset", "log_time", "customer", "key_is_null"))
    return list(zip(*wanted, value, columns["value_is_null"], columns["header_names"], columns["header_values"], strict=True))


def _add_hostile(log: Log) -> None:
    """Records that no producer of ours would write, at the log's end."""
    now_ms = log.records[-1].timestamp_ms
    strange: Any = (("a", None), ("", b"\xff\x00"), ("a", b""), ("ü 顧客", b"x"), ("tidemark-received-at", b"12x"))
    for key, value in ((None, None), (b"\x00\xff|%", None), (b"", b""), (b"\xed\xa0\x80", b"\xed\xa0\x80"), (None, b"{}")):
        log.add(key, value, now_ms, strange)
        log.marker()


class ModelArchive:
    """`ports.Archive`, and `infra.replaying.run.Copy`, of what was archived."""

    def __init__(self) -> None:
        self.partition = 0
        self.logs: list[tuple[list[tuple[Any, ...]], Generation]] = []
        self.emitted: dict[Window, dict[int, Held]] = {}
        self.kept: dict[bytes, OldReceipt] = {}
        self.told: dict[Window, int] = {}
        self.at: dict[str, int] = {}
        self.went_on: list[tuple[dict[str, int], int, int]] = []

    def generations(self) -> list[Generation]:
        """See `ports.Archive`."""
        return [generation for _, generation in self.logs]

    def batches(self, generation: int, start: int, end: int) -> Iterator[Batch]:
        """See `ports.Archive`; in small portions."""
        rows = self.logs[generation][0]
        for at in range(start, end, 37):
            upto = min(end, at + 37)
            yield batch_of([row for row in rows if at <= row[0] < upto], self.partition, at, upto)

    def batches_of(self, customer: str, generation: int, start: int, end: int) -> Iterator[tuple[int, Batch]]:
        """See `infra.replaying.run.Copy`; all records, which is as exact."""
        for batch in self.batches(generation, start, end):
            yield 0, batch

    def totals(self, from_s: int, to_s: int, customer: str = "", meter: str = "") -> dict[Window, Held]:
        """See `infra.replaying.run.Copy`."""
        newest = {window: held[max(held)] for window, held in self.emitted.items()}
        named = {window: held for window, held in newest.items() if customer in {"", window.customer} and meter in {"", window.meter}}
        return {window: held for window, held in named.items() if from_s <= window.end_s <= to_s}

    def beyond(self, generation: int, offset: int) -> dict[Window, Held]:
        """See `ports.Archive`."""
        newest = {window: held[max(held)] for window, held in self.emitted.items()}
        return {window: held for window, held in newest.items() if held.rev >= revision(generation, offset)}

    def covered(self, rows: Sequence[Row]) -> dict[Window, int]:
        """See `ports.Archive`."""
        return {row.window: self.told[clamped(row.window)] for row in rows if clamped(row.window) in self.told}

    def newest_generation(self) -> int:
        """See `ports.Archive`."""
        return max((split_revision(rev)[0] for held in self.emitted.values() for rev in held), default=0)

    def receipts(self) -> Iterator[list[OldReceipt]]:
        """See `ports.Archive`."""
        kept = list(self.kept.values())
        for at in range(0, len(kept), 7):
            yield kept[at : at + 7]

    def unfolded(self, place: int) -> list[str]:
        """See `ports.Archive`."""
        return []

    def last_ms(self, generation: int) -> int:
        """See `ports.Archive`."""
        return max((row[1] for row in self.logs[generation][0]), default=0)

    def places(self) -> Mapping[str, int]:
        """See `ports.Archive`."""
        return self.at

    def go_on_from(self, places: Mapping[str, int], generation: int, begin: int) -> None:
        """See `ports.Archive`."""
        self.at |= places
        self.went_on.append((dict(places), generation, begin))


class LostWorld:
    """An `AuditWorld`, archived, and what is left when its Kafka is gone. `lag`: so many offsets at the end were not archived; `hostile`: records
    with null keys, null values and strange headers are among them."""

    def __init__(self, seed: int, *, length: int = 300, logs: int = 1, lag: int = 0, hostile: bool = False) -> None:
        self.rng = random.Random(f"lost {seed}")
        self.archive = ModelArchive()
        self.given = [clocked_log(seed + 1000 * number, length // (1 + (number > 0))) for number in range(logs)]
        for log in self.given if hostile else ():
            _add_hostile(log)
        self.world = AuditWorld(seed, self.given[0])
        self.world.emit(self.world.meter.log_now_ms)
        for log in self.given[1:]:
            self._keep(self.world.events, self.world.events.end)
            self.world.adopt(log)
        self._amend()
        self._keep(self.world.events, max(0, self.world.events.end - lag))
        self._keep_totals()

    def _amend(self) -> None:
        """Corrections of a few windows, which act, and one said twice, which does not; then what they made is emitted."""
        world, state = self.world, self.state
        final_us = state.clocks.final_until_us
        rows = [row for row in state.rows.all() if row.window.end_s * 10**6 > state.definitions.final_us(row.window.customer, final_us)]
        for row in self.rng.sample(rows, min(3, len(rows))):
            draft = correct(row.window, self.rng.randrange(1, 9) * ONE, split_revision(row.rev), "a test", "ann")
            event = draft.event()
            for _ in range(self.rng.choice((1, 2))):
                world.events.add(event.key, event.value, world.meter.log_now_ms)
        world.go_on()
        world.emit(world.meter.log_now_ms)

    def _keep(self, log: Log, archived: int) -> None:
        meter = self.world.meter
        archived = min(archived, meter.durable_offset)
        marks = [decode_verdict(record.value, "a test") for record in self.world.logs[VERDICTS].records]
        mark = max((m for m in marks if isinstance(m, Mark) and m.generation == meter.generation), key=lambda m: m.next_offset)
        rows = raw_rows(log, meter.generation, archived)
        self.archive.logs.append((rows, Generation(meter.generation, mark.counters.base, mark.next_offset, archived, mark.counters)))

    def _keep_totals(self) -> None:
        """Every total that was emitted, and for most of them what the report wrote: one visible record."""
        from topics.window_total import decode_window_total

        for record in self.world.logs["usage.windows"].records:
            total = decode_window_total(record.value, "a test")
            rev = revision(total.generation, total.through_offset)
            held = Held(rev, total.scaled, total.events, total.hash)
            self.archive.emitted.setdefault(clamped(total.window), {})[rev] = held
            if self.rng.random() < 0.2:
                continue
            receipt = WindowReceipt(
                window=window_key(total.window), customer=total.customer, meter=total.meter, start_s=total.window.start_s,
                end_s=total.window.end_s, generation=total.generation, through_offset=total.through_offset, quantity=total.quantity,
                reason="unbound", sentence="", parked_at_ms=1,
            )  # fmt: skip
            key = receipt_key(receipt)
            self.archive.kept[key] = OldReceipt(key, encode(receipt), receipt.state)
            self.archive.told[clamped(total.window)] = max(rev, self.archive.told.get(clamped(total.window), -1))

    def archive_again(self) -> None:
        """The archive has caught up with what came since."""
        self.archive.logs.pop()
        self._keep(self.world.events, self.world.events.end)
        self._keep_totals()

    @property
    def state(self) -> PartitionState:
        """The state that ran."""
        return self.world.meter.state


class Killed(BaseException):
    """The restoring process is gone."""


class NewCluster:
    """`ports.Cluster`: empty topics. `left`: after so many acknowledged records the process is gone, in the middle of a portion."""

    def __init__(self, left: int | None = None) -> None:
        self.topics: dict[str, Log] = {}
        self.left = left
        self.ended: list[frozenset[str]] = []

    def log(self, topic: str, partition: int = 0) -> Log:
        """One partition of a topic; 0 goes by the topic's name alone."""
        return self.topics.setdefault(f"{topic} {partition}" if partition else topic, Log())

    def _take(self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Headers = ()) -> None:
        if self.left is not None:
            if not self.left:
                raise Killed
            self.left -= 1
        self.log(topic, partition).add(key, value, 0, tuple(headers))

    async def cluster_id(self) -> str:
        """See `ports.Cluster`."""
        return "new"

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """See `ports.Cluster`."""
        return 0, self.log(topic, partition).end

    async def kept(self, topic: str, partition: int) -> list[Kept]:
        """See `ports.Cluster`."""
        return [Kept(record.offset, record.key, record.value) for record in self.log(topic, partition).records]

    async def send(self, sends: Sequence[Send]) -> None:
        """See `ports.Cluster`."""
        for one in sends:
            self._take(one.topic, one.partition, one.key, one.value, one.headers)

    async def write_receipts(self, partition: int, records: Sequence[tuple[bytes, bytes]]) -> None:
        """See `ports.Cluster`; a transaction is all or nothing."""
        if self.left is not None and self.left < len(records):
            raise Killed
        for key, value in records:
            self._take("usage.receipts", partition, key, value)

    async def end(self, kinds: frozenset[str]) -> None:
        """See `ports.Workers`."""
        self.ended.append(kinds)

    def recovered(self, rng: random.Random) -> MeterPartition:
        """A meter that takes the partition now."""
        records = [(record.key, record.value, record.offset) for record in self.log(STATE).records]
        return MeterPartition.recover(0, PARTITIONS, records, writer_epoch=rng.randbytes(8), id_key=rng.randbytes(16), cluster_id="new")


async def restored(lost: LostWorld, cluster: NewCluster, *, yes: bool = True, archive: Archive | None = None) -> PartitionResult:
    """One run of the restore, from the model of the archive or from a real one."""
    each = PartitionRestore(0, PARTITIONS, archive or lost.archive, cluster, random_bytes=lost.rng.randbytes)
    (result,) = await restore([each], cluster, cluster, yes=yes)
    return result


def rows_of(state: PartitionState) -> dict[Window, tuple[Any, ...]]:
    """Everything that a row holds but who was told of it and where it is written."""
    return {row.window: (row.scaled, row.events, row.first_offset, row.rev, row.content_hash % MODULUS, row.own) for row in state.rows.all()}


def plain(counters: Counters) -> dict[str, int]:
    """Counters by name."""
    return {name: getattr(counters, name) for name in counters.__struct_fields__}
