"""Guards of laws 2, 3, 4, 5 and 9: what is durable, whose it is, when it is said."""

from __future__ import annotations

from typing import Final

from tests.hazards.edits import Edit
from tests.hazards.mutation import Mutation, without
from tests.hazards.mutations_counting import NO_RANGE

DRIVER, CHANGELOG, RECOVERY, IDENTITY, FLUSHING = "streams.driver", "streams.changelog", "streams.recovery", "streams.identity", "streams.flushing"
SEND_BUT = "__import__('tests.hazards.wall', fromlist=['send_but']).send_but"
SEGMENTS, ROW_SEGMENTS, HOLDINGS, TABLE = "streams.segments", "streams.row_segments", "infra.delivery_holdings", "streams.table"
BASES = "streams.bases"
THREAD = "infra.delivery_thread"

LAW_2: Final = (
    without(
        "stale-batch-applied", "2", "after waiting for room a handler asks again whether its batch's assignment is still held",
        f"{DRIVER}:Meter._holder",
        "if self._flow.epoch(batch.tp) != batch.epoch:\n        return None\n    held = self._held.get(batch.partition)\n"
        "    return held if held is not None and held.epoch == batch.epoch else None",
        "return self._held.get(batch.partition)", "H1",
    ),
    without(
        "flush-outlives-its-assignment", "2", "after every await a flush asks whether the very same assignment is still held",
        f"{DRIVER}:Meter._watch", "self._halted is None and self._held.get(partition) is held", "True", "H1",
    ),
    without(
        "fence-off", "2", "records below `next_offset` are replays",
        "streams.step:step", "if offset >= counters.next_offset)", "if True)", "H15",
    ),
    without(
        "torn-batch-flushed", "2", "what a batch folded by half left behind is never made durable",
        "streams.partition:MeterPartition.begin_flush", "if not self._whole:", "if False:", "H15",
    ),
    without(
        "incomplete-base", "2", "a partition's state comes from a recovery that reached the changelog's end in this assignment",
        f"{BASES}:Bases.take", "if partition not in self._complete:", "if False:", "H7 base",
    ),
    without(
        "base-of-the-assignment-before", "2", "what was collected of the changelog before a rebalance is dropped",
        f"{BASES}:Bases.begin", "self._collected.clear()\n    self._complete.clear()", "pass", "H7 base",
    ),
    without(
        "recovery-begins-where-it-stopped", "2", "every assignment reads the whole changelog again",
        f"{TABLE}:CollectingStore.persisted_offset", "return READ_FROM_THE_START", "return 7", "H7 base",
    ),
    without(
        "kept-over-another-writer", "2", "a state in memory goes on only where its changelog has exactly the bounds that its own writes account for",
        f"{BASES}:Bases.stands", "(kept.begin, kept.end) == (begin, end)", "True", "H7 kept",
    ),
    without(
        "fetch-during-a-rebalance", "2", "nothing is taken from the consumer's buffer while a rebalance is under way",
        f"{THREAD}:BatchConsumerThread._take", "if subscription.reassignment_in_progress:", "if False:", "H15 fetch",
    ),
    without(
        "fetch-of-another-epoch", "2", "what was opened in another epoch is not taken",
        f"{THREAD}:BatchConsumerThread._take", " and session.epoch == epoch", "", "H15 fetch",
    ),
    without(
        "position-moved-unseen", "2", "a position that somebody else moved ends the worker",
        f"{THREAD}:BatchConsumerThread._check_positions", "if not state.has_valid_position or state.position != session.position:", "if False:",
        "H15 fetch",
    ),
    without(
        "batch-of-another-epoch", "2", "delivery hands over only batches of the partition's present epoch",
        f"{HOLDINGS}:Holdings.admits", " and held.epoch == batch.epoch", "", "H1 delivery",
    ),
    without(
        "epoch-outlives-the-revoke", "2", "the epoch ends when the revoke begins, not when the app has let go",
        f"{HOLDINGS}:Holdings.epoch", "if held is None or held.phase is Phase.LEAVING", "if held is None", "H1 delivery",
    ),
    without(
        "batches-with-a-gap", "2", "a batch that does not begin where the last one ended is refused",
        f"{HOLDINGS}:Holdings.follows", "return batch.start_offset == self.position(batch.tp)", "return True", "H1 delivery",
    ),
    without(
        "hash-left-out", "2", "the content hash stands in the record of its sum",
        f"{ROW_SEGMENTS}:pack_rows", 'held["hash"].tobytes()', "bytes(32 * len(slots))", "H20",
    ),
    without(
        "first-offset-left-out", "2", "the first offset stands in the record of its sum",
        f"{ROW_SEGMENTS}:pack_rows", "{name: held[name] for", '{name: held["through" if name == "first_offset" else name] for', "H20",
    ),
    Mutation(
        "hash-is-xor", "2", "the hash is a sum, in which two equal postings do not cancel",
        (
            Edit("streams.row_store:RowStore.add_hashes", "held[:, word] + words[:, word]", "held[:, word] ^ words[:, word]"),
            Edit("streams.adding:add_one", "row.content_hash += digest", "row.content_hash ^= digest"),
        ), ("H20",),
    ),
)  # fmt: skip

LAW_3: Final = (
    without(
        "other-record-not-seen", "3", "the last record counted is read again and must be the same",
        f"{IDENTITY}:check_identity", "if record_digest(*record) != held.last_digest:", "if False:", "H10",
    ),
    Mutation(
        "cut-log-not-seen", "3", "a log that ends before what was counted was cut or recreated (two nets)",
        (Edit(f"{IDENTITY}:check_identity", "if end < next_offset:", "if False:"), NO_RANGE), ("H10",),
    ),
    without(
        "lost-record-not-seen", "3", "the record that was counted last must be in the log while retention has not passed it",
        f"{IDENTITY}:check_identity", "elif held.last_offset >= begin:", "elif False:", "H10",
    ),
    without(
        "other-cluster-not-seen", "3", "where retention took that record, the cluster decides",
        f"{IDENTITY}:check_identity", "elif held.cluster_id and cluster_id != held.cluster_id:", "elif False:", "H10",
    ),
    without(
        "body-with-the-time", "3", "a revision's body is a function of window and revision; when it was closed stands in a header",
        "streams.durability:build_emission", "content_hash=row.content_hash % MODULUS", "content_hash=(row.content_hash + closed_at_ms) % MODULUS",
        "H20",
    ),
    without(
        "generation-not-raised", "3", "adopting a log begins a new generation, whose revisions are greater than all before",
        "streams.adopt:adopt", "record.generation += 1", "pass", "H10",
    ),
    without(
        "old-flush-joins-the-new-log", "3", "adopting notes where the old log ended: what died beyond it is no part of the state",
        "streams.adopt:adopt", "record.closed = [*state.closed, state.counters.next_offset]", "record.closed = [*state.closed, 1 << 62]", "H10",
    ),
    without(
        "log-known-by-a-replay", "3", "a replay does not move back the record by which the log is known",
        "streams.step:step", "if len(batch) and batch.offsets[-1] > state.identity.last_offset:", "if len(batch):", "H15",
    ),
)  # fmt: skip

LAW_4: Final = (
    without(
        "last-write-wins", "4", "of two records of a row the greater revision wins, never the last written",
        "streams.merging:_merge", "np.flatnonzero(same | newer)", "np.arange(len(rows))", "H11",
    ),
    without(
        "first-write-wins", "4", "of two records of a row the greater revision wins, never the first written",
        "streams.merging:_merge", "np.flatnonzero(same | newer)", "np.flatnonzero(new)", "H11", "H2",
    ),
    without(
        "one-key-for-two-writers", "4", "a changelog key holds its writer's random epoch",
        f"{CHANGELOG}:Changelog._next", "SegmentKey(kind, self.epoch, self.number)", 'SegmentKey(kind, b"tidemark", self.number)', "H11",
    ),
    without(
        "tombstone-of-a-paused-writer", "4", "a segment whose counters may still come is not tombstoned before ours have passed it",
        f"{CHANGELOG}:Changelog.unproven", "self._unproven[key] = upto", "pass", "H11",
    ),
    without(
        "tombstone-before-re-assert", "4", "a segment is tombstoned only after the records that say its rows again are acknowledged",
        "streams.durability:build_flush", "return Flush(first, counters, last, state.counters.next_offset, retired)",
        "return Flush(last + first, counters, [], state.counters.next_offset, retired)", "H11", "H1",
    ),
    without(
        "segment-with-a-live-row-goes", "4", "a segment goes only when none of its rows is live any more",
        f"{CHANGELOG}:Changelog._leave", "if held.live == 0:", "if held.live <= 1:", "H20", "H11",
    ),
    without(
        "rows-of-a-dead-flush-taken", "4", "of a flush without counters no changed row is taken",
        "streams.merging:merge_rows", 'extent.holds_each(columns["generation"], columns["through"]) & ', "", "H2", "H20",
    ),
    without(
        "ids-of-a-dead-flush-taken", "4", "of a flush without counters no id is taken",
        f"{RECOVERY}:_take_ids", " and extent.covers(record.generation, record.upto)", "", "H2", "H12",
    ),
    without(
        "versions-of-a-dead-flush-taken", "4", "of a flush without counters no version is taken",
        f"{RECOVERY}:_take_definitions", "if extent.covers(record.generation, record.upto):", "if True:", "H5", "H13",
    ),
    without(
        "versions-by-key", "4", "versions are put in force in the order of the log, whatever epochs their writers drew",
        f"{RECOVERY}:_take_definitions", "key=lambda part: (part[1].generation, part[1].upto, part[0])", "key=lambda part: part[0]", "H13", "H5",
    ),
    without(
        "ids-under-another-key-taken", "4, 6", "ids that another first writer made under its own key are not taken for ours",
        f"{RECOVERY}:_take_ids", "if record.key_name != state.digester.name:", "if False:", "H11",
    ),
    without(
        "counters-by-order", "4", "the greatest counters name the prefix, not those written last",
        f"{RECOVERY}:recover", "newest = max(counters, key=lambda record: (record.generation, record.counters.next_offset, record.retired.until_s))",
        "newest = counters[-1]", "H11",
    ),
    without(
        "lost-segment-unseen", "4, 7", "rows, ids and versions recovered are as many as the counters say",
        f"{RECOVERY}:_check_complete", "if wrong:", "if False:", "H7 damage",
    ),
    without(
        "flipped-byte-unseen", "4", "a changelog record whose checksum is wrong halts",
        f"{SEGMENTS}:decode_segment", "if zlib.crc32(body) != checksum:", "if False:", "H7 damage",
    ),
)  # fmt: skip

LAW_5: Final = (
    without(
        "commit-early", "5", "an offset is committed only after all that it caused is acknowledged",
        f"{DRIVER}:Meter._flush_one", "may_go_on = self._watch(partition, held)",
        "may_go_on = self._watch(partition, held)\n    self._flow.commit((EVENTS, partition), held.core.next_offset)", "H1",
    ),
    without(
        "counters-first", "5", "the counters record comes after all that it stands for",
        f"{FLUSHING}:flush", "await outbox.send_all(pending.first)", "await outbox.send_all([pending.counters])", "H6", "H1",
    ),
    without(
        "counters-beside-rows", "5", "the counters record is sent after the rows are acknowledged, not beside them",
        f"{FLUSHING}:flush", "await outbox.send_all(pending.first)", "await outbox.send_all([*pending.first, pending.counters])", "H6",
    ),
    Mutation(
        "rows-not-awaited", "5", "rows and ids are acknowledged before the counters are sent",
        (Edit(f"{FLUSHING}:flush", "await outbox.send_all(pending.first)", f"await {SEND_BUT}(outbox, pending.first, 'usage.state')"),), ("H6",),
    ),
    Mutation(
        "rerouted-not-awaited", "5", "re-sent events are acknowledged before their offset passes",
        (Edit(f"{FLUSHING}:flush", "await outbox.send_all(pending.first)", f"await {SEND_BUT}(outbox, pending.first, 'usage.events')"),), ("H6",),
    ),
    Mutation(
        "verdicts-not-awaited", "5", "verdicts are acknowledged before their offset passes",
        (Edit(f"{FLUSHING}:flush", "await outbox.send_all(pending.first)", f"await {SEND_BUT}(outbox, pending.first, 'usage.verdicts')"),), ("H6",),
    ),
    Mutation(
        "rejected-not-awaited", "5", "rejected events are acknowledged before their offset passes",
        (Edit(f"{FLUSHING}:flush", "await outbox.send_all(pending.first)", f"await {SEND_BUT}(outbox, pending.first, 'usage.rejected')"),), ("H6",),
    ),
    without(
        "committed-offset-wins", "5", "the meter starts at its recovered counters, whatever the group has committed",
        f"{DRIVER}:Meter._start", "return core.next_offset", "return begin if committed is None else committed", "H7",
    ),
    Mutation(
        "lost-state-unseen", "5", "state that is behind the group's offset halts where the log no longer has what is between (three nets)",
        (
            Edit("streams.starting:check_committed", "if next_offset < begin:", "if False:"),
            Edit(f"{IDENTITY}:check_identity", "if begin > next_offset:", "if False:"),
            NO_RANGE,
        ), ("H7",),
    ),
    without(
        "emitted-before-the-ack", "5", "`emitted` rises only after the total is acknowledged on usage.windows",
        "streams.emitting:emit", "await outbox.send_all([emission.send for emission in emissions])",
        "__import__('asyncio').ensure_future(outbox.send_all([emission.send for emission in emissions]))", "H6",
    ),
    without(
        "mark-falls", "5", "what may be committed only rises",
        f"{HOLDINGS}:Holdings.mark", " and (held.marked is None or next_offset > held.marked)", "", "H1 delivery",
    ),
    without(
        "late-marks-count", "5", "a partition that was let go is forgotten, and marks that come later are ignored",
        f"{HOLDINGS}:Holdings.forget", "self._held.pop(tp, None)", "pass", "H1 delivery",
    ),
    without(
        "mark-is-not-said-again", "5, 19", "the first flush after a recovery always says the mark, which a crash may have kept back",
        "streams.partition:MeterPartition.__init__", "self._flushed_offset = -1", "self._flushed_offset = self.state.counters.next_offset", "H4",
    ),
    without(
        "failed-send-ignored", "5", "a send that failed ends the assignment",
        f"{DRIVER}:Meter._flush", "if isinstance(outcome, BaseException):", "if False:", "H6", "H1",
    ),
    without(
        "acks-one", "5", "the meter's producer waits for all in-sync replicas",
        "infra.outbox:KafkaOutbox.start", 'acks="all"', "acks=1", "H6 outbox",
    ),
    without(
        "outbox-does-not-wait", "5", "a call of the outbox returns when every record is acknowledged",
        "infra.outbox:KafkaOutbox._send_partition", "await asyncio.gather(*acknowledged)", "pass", "H6 outbox",
    ),
)  # fmt: skip

LAW_9: Final = (
    without(
        "closes-without-a-barrier", "9", "a window closes once all below the log's end at that moment is durable",
        "streams.closing:Closing.tick", "durable_offset >= self.barrier[1]", "True", "H19 backlog",
    ),
    without(
        "position-without-markers", "9", "the position moves over markers, so that a barrier behind one is reached",
        "streams.step:step", "if batch.next_offset > counters.next_offset:", "if False:", "H19",
    ),
    without(
        "emits-what-is-not-durable", "3, 9", "only durable revisions are emitted",
        "streams.closing:Closing.due", "self._store.is_below(part, durable_rev) & self._store", "self._store", "H20", "H13",
    ),
)  # fmt: skip

DURABLE: Final = LAW_2 + LAW_3 + LAW_4 + LAW_5 + LAW_9
