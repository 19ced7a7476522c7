"""Guards of laws 18 and 19, of the topics on the server (laws 0, 1, 5, 7), and of what listens where and who is alive."""

from __future__ import annotations

from typing import Final

from tests.hazards.edits import Edit
from tests.hazards.mutation import Mutation, without

APP, RAW, MIGRATE = "sinks.clickhouse.app", "sinks.clickhouse.app_raw", "sinks.clickhouse.migrate"
RULES = "infra.topics_rules"


def _sql(name: str, law: str, guard: str, old: str, new: str, *checks: str) -> Mutation:
    """A guard that stands in the schema's text."""
    changed = f"split_statements(_once(data.decode(), {old!r}, {new!r}))"
    place = Edit(f"{MIGRATE}:parse_migration", "split_statements(data.decode())", changed.replace("_once(", f"{ONCE}("))
    return Mutation(name, law, guard, (place,), checks)


ONCE: Final = "__import__('tests.hazards.wall', fromlist=['once']).once"

LAW_18: Final = (
    without(
        "commit-before-insert", "18", "an offset is committed after the insert was answered",
        f"{APP}:ArchiveWorker._write", "for table in dict.fromkeys(",
        "for found in taken:\n        self._flow.commit(found.lane.tp, found.next_offset)\n    for table in dict.fromkeys(", "H33",
    ),
    without(
        "progress-before-rows", "18", "the progress row is written after its rows",
        f"{APP}:ArchiveWorker._write", "for table in dict.fromkeys(",
        "await self._insert(PROGRESS, [(*found.lane.tp, 0, found.next_offset) for found in taken])\n    for table in dict.fromkeys(", "H33",
    ),
    without(
        "raw-progress-before-rows", "18", "the progress of raw events is written after their rows",
        f"{RAW}:RawCopier._write", "if insert is not None:",
        "rows = [(EVENTS, lane.partition, generation, offset) for lane, (generation, offset) in reached.items()]\n"
        "        await self._patience.insist(lambda: self._store.insert(PROGRESS, columns_of(rows, PROGRESS)))\n"
        "        if insert is not None:", "H33", "H34",
    ),
    without(
        "no-resume-skip", "18", "rows that are there without their progress are found and not inserted again",
        "sinks.clickhouse.resume:resume", "frozenset(offset for offset in present if offset >= start)", "frozenset()", "H33 resume",
    ),
    without(
        "written-rows-unchecked", "18", "an insert counts where the server says it wrote as many rows as were sent",
        "sinks.clickhouse.client:_believe", "if written != count:", "if False:", "H33 rows",
    ),
    _sql(
        "raw-without-final", "18", "views read raw events FINAL", "FROM raw_events AS e FINAL", "FROM raw_events AS e", "H33 views",
    ),
    _sql(
        "verdicts-without-final", "18", "views read verdicts FINAL", "FROM verdict_log FINAL) AS v", "FROM verdict_log) AS v", "H33 views",
    ),
    _sql(
        "rejected-without-final", "18", "views read rejected events FINAL", "FROM rejected_log AS r FINAL", "FROM rejected_log AS r", "H33 views",
    ),
    _sql(
        "revisions-without-final", "18", "views read totals FINAL", "FROM window_log AS w FINAL;", "FROM window_log AS w;", "H33 views",
    ),
    _sql(
        "revision-of-32-bits", "H35", "offsets and revisions are 64 bits wide",
        "through_offset  UInt64                          CODEC(Delta(8), ZSTD(1)),\n    kafka_partition",
        "through_offset  UInt32                          CODEC(Delta(4), ZSTD(1)),\n    kafka_partition", "H35",
    ),
)  # fmt: skip

LAW_19: Final = (
    without(
        "raw-before-its-mark", "19", "raw events follow up to the archived mark, no further",
        "sinks.clickhouse.lanes:RawLane.wanted", "return self.target.next_offset", "return self.target.next_offset + 5", "H34", "H33",
    ),
    without(
        "mark-before-its-verdicts", "19", "a mark is written after every verdict below it",
        f"{APP}:ArchiveWorker._write", "for table in dict.fromkeys(",
        "await self._insert(MARK, [mark_row(found.mark) for found in taken if found.mark is not None])\n    for table in dict.fromkeys(", "H34",
    ),
    _sql(
        "views-past-the-mark", "19", "views show nothing at or past the archived mark",
        "WHERE e.kafka_offset < m.next_offset", "WHERE e.kafka_offset >= 0", "H34 views",
    ),
    without(
        "events-without-their-verdicts", "19", "where the first verdicts are gone a new archive begins at the first mark that is left",
        f"{APP}:ArchiveWorker._is_trimmed", "return mark is None and await self._flow.beginning_offset(tp) > 0", "return False", "H34 retention",
    ),
    without(
        "definitions-not-awaited", "19", "no raw event is read before every definition below its mark is known",
        f"{RAW}:RawCopier._may_read", "if self._definitions_read(lane.partition) < end:", "if False:", "H33 postings",
    ),
    without(
        "archive-remembers-windows", "8, 19", "a window that was cut holds only the instants in it, also in the archive's memory",
        "sinks.clickhouse.rows:RawRows._window", "if known is not None and known.start_s <= instant_s < known.end_s:", "if known is not None:",
        "H33 postings",
    ),
    without(
        "archive-forgets-no-window", "8, 19", "a new definition makes the archive forget its windows",
        "sinks.clickhouse.rows:RawRows._postings", "self._windows.clear()", "pass", "H33 postings",
    ),
    without(
        "quick-way-remembers-windows", "8, 19", "a window that was cut holds only the instants in it, also where rows are built the quick way",
        "sinks.clickhouse.plain_rows:PlainRows._has_edge", "window.end_s - window.start_s != meter.window_s", "False",
        "H33 postings",
    ),
    without(
        "quick-way-keeps-meters", "0, 19", "a new definition makes the quick way forget which meters take an event",
        "sinks.clickhouse.plain_rows:PlainRows.follow", " or definitions.version != self._version", "", "H33 postings",
    ),
    without(
        "archive-of-another-log", "3, 19", "a log whose records are not those that were archived halts the archive",
        f"{RAW}:RawCopier._check", "if not chunk.records or not _is_same(chunk.records[0], last):", "if False:", "H10 archive",
    ),
)  # fmt: skip

TOPICS: Final = (
    without(
        "one-copy-is-enough", "5", "a topic with fewer copies than money needs is said at start",
        f"{RULES}:_different", "if there.replication < kafka.replication:", "if False:", "H7 topics",
    ),
    without(
        "one-in-sync-is-enough", "5", "an acknowledged record is on two brokers",
        f"{RULES}:wanted_configs", '"min.insync.replicas": str(kafka.min_insync),', "", "H7 topics",
    ),
    without(
        "unclean-election-unseen", "5", "no acknowledged record is given up for availability",
        f"{RULES}:wanted_configs", '"unclean.leader.election.enable": "false",', "", "H7 topics",
    ),
    without(
        "compacted-events-unseen", "5, 7", "the event log is never compacted, the changelog never trimmed by age",
        f"{RULES}:wanted_configs", '"cleanup.policy": topic.cleanup,', "", "H7 topics",
    ),
    without(
        "producers-time-unseen", "0", "the log's clock is the broker's",
        f"{RULES}:wanted_configs", '"message.timestamp.type": "LogAppendTime" if topic.log_append_time else "CreateTime",', "", "H7 topics",
    ),
    without(
        "retention-by-size-unseen", "5, 7", "no limit by size deletes what no worker has read",
        f"{RULES}:wanted_configs", 'configs["retention.bytes"] = "-1"', "pass", "H7 topics",
    ),
    without(
        "partition-count-unseen", "1", "the number of partitions is fixed for ever",
        f"{RULES}:_different", "if there.partitions != kafka.partitions:", "if False:", "H7 topics",
    ),
)  # fmt: skip

AROUND: Final = (
    without(
        "faust-serves-tables", "H36", "Faust's web server is off",
        "infra.faust_app:build_app", "web_enabled=False", "web_enabled=True", "H36",
    ),
    without(
        "worker-on-every-interface", "H36", "workers of an embedded stack listen on loopback",
        "infra.embedded.plan:worker_spec", '"TIDEMARK_WORKER__HTTP": f"{HOST}:{port}"', '"TIDEMARK_WORKER__HTTP": f"0.0.0.0:{port}"', "H36",
    ),
    without(
        "broker-on-every-interface", "H36", "the broker of an embedded stack listens on loopback",
        "infra.embedded.kafka:properties", '"listeners": f"PLAINTEXT://{HOST}:{node.port}', '"listeners": f"PLAINTEXT://0.0.0.0:{node.port}', "H36",
    ),
    without(
        "port-held-by-nobody", "H36", "a port that another stack holds is not chosen",
        "infra.embedded.ports:_new", "if port not in avoid and _bound(probe, port):", "port = FIRST\n        if True:", "H36",
    ),
    without(
        "stuck-worker-lives-on", "H37", "a worker that has lag and gets nothing done is killed",
        "infra.embedded.supervision:_overdue", "now_s - after.progress_s > policy.stuck_s", "False", "H37",
    ),
    without(
        "waiting-consumer-is-silent", "H37", "a consumer that waits for room shows the group that it lives",
        "infra.delivery_consumer:BatchConsumer._unless_suspended", "await self.thread.touch()", "pass", "H37 waiting",
    ),
    without(
        "put-holds-the-revoke-up", "2", "a put that waits for room is given up when the flow is suspended",
        "infra.delivery_consumer:BatchConsumer._unless_suspended", "while not task.done() and not gone.done():", "while not task.done():",
        "H37 waiting",
    ),
)  # fmt: skip

ARCHIVE: Final = LAW_18 + LAW_19 + TOPICS + AROUND
