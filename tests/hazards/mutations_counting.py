"""Guards of laws 0, 1, 6, 7, 8, 10 and 11: what a record means, in which window it lies, what it adds up to."""

from __future__ import annotations

from typing import Final

from tests.hazards.edits import Edit
from tests.hazards.mutation import WALL, Mutation, without

STEP, CONTROL, JUDGING, COLUMNS = "streams.step", "streams.control", "topics.judging", "streams.columns"

NO_RANGE: Final = Edit("streams.driver:Meter.on_out_of_range", "self.halt(LostLog(out_of_range(tp, wanted, begin, end)))", "return")
"""The net below: delivery is told an offset that the log does not hold, and says so."""

LAW_0: Final = (
    without(
        "future-by-wall-clock", "0", "`future` is judged by the log's now, not by a worker's clock",
        f"{JUDGING}:judge", "if occurred_at_us > time.future_from_us:",
        f"if occurred_at_us > ({WALL}.now_ms + setting.definitions.timing.future_ms) * US_PER_MS:", "H4", "H2",
    ),
    without(
        "too-late-by-wall-clock", "0", "what is final is judged by the log's now, not by a worker's clock",
        f"{STEP}:_final_us", "now_ms - timing.horizon_ms", f"{WALL}.now_ms - timing.horizon_ms", "H3", "H2",
    ),
    without(
        "ids-expire-by-wall-clock", "0", "ids are forgotten by the log's now, not by a worker's clock",
        f"{STEP}:_advance", "dead_before(timestamp_ms, timing.dedup_ms)", f"dead_before({WALL}.now_ms, timing.dedup_ms)", "H12", "H2",
    ),
    without(
        "grid-from-a-file", "0", "the grid is the version in the log, not what a worker's configuration says",
        "topics.definitions:Definitions.window_of",
        "start_s = grid_start(instant_s, meter.window_s)\n    end_s = start_s + meter.window_s",
        f"start_s = grid_start(instant_s, {WALL}.window_s)\n    end_s = start_s + {WALL}.window_s", "H2",
    ),
    without(
        "horizon-from-a-file", "0", "the horizon is the one in the log, not what a worker's configuration says",
        f"{STEP}:_final_us", "timing.horizon_ms", f"{WALL}.horizon_ms", "H2",
    ),
    Mutation(
        "judges-without-meters", "0", "a partition that does not begin with its meters halts, instead of being judged by defaults",
        (
            Edit(f"{STEP}:_read_stretch", "if state.definitions.meters_digest is None:\n            raise _no_meters(state)", "pass"),
        ), ("H2",),
    ),
    without(
        "stale-change-accepted", "0", "a control record that replaces another version than the one in force is refused",
        f"{CONTROL}:_fold_meters", "if record.replaces != held:", "if False:", "H13",
    ),
    without(
        "log-now-goes-back", "0", "the log's now is the greatest LogAppendTime so far",
        f"{STEP}:_advance_to", "if timestamp_ms > state.clocks.now_ms:", "if timestamp_ms != state.clocks.now_ms:", "H2", "H15",
    ),
    without(
        "ids-of-a-stretch-in-one-bucket", "0", "a stretch ends where the hour of the log's now turns, so buckets do not hang on the cut of batches",
        f"{STEP}:_turns_hour", "return dies or timestamp_ms // HOUR_MS != clocks.now_ms // HOUR_MS", "return False", "H12",
    ),
)  # fmt: skip

LAW_1: Final = (
    without(
        "counted-where-it-lies", "1", "an event found away from its home is sent there, not counted where it lies",
        f"{JUDGING}:judge", "if home != setting.partition:", "if False:", "H16", "H6",
    ),
    without(
        "received-when-re-sent", "1", "an event that was sent home keeps the LogAppendTime of its first arrival",
        "topics.origin:origin_of", "if received_at_ms is None or received_at_ms > timestamp_ms:", "if True:", "H16",
    ),
    without(
        "home-by-crc32", "1", "the home partition is Java's murmur2, whatever a producer's client uses",
        "topics.home:home_of", "return (murmur2(key) & 0x7FFFFFFF) % partitions", "return __import__('zlib').crc32(key) % partitions", "H16",
    ),
)  # fmt: skip

LAW_6: Final = (
    without(
        "dedup-bucket-dies-early", "6", "a bucket of ids lives until its end + `dedup`",
        "streams.duplicates:dead_before", "(now_ms - dedup_ms) // HOUR_MS", "(now_ms - dedup_ms) // HOUR_MS + 1", "H12",
    ),
    without(
        "dead-ids-still-count", "6", "whether an id is live is a rule over its bucket, not over what memory still holds",
        f"{STEP}:_count", "& (buckets >= state.clocks.dead_before)", "", "H12",
    ),
    without(
        "ids-are-not-asked", "6", "an event whose id was counted is a duplicate",
        f"{STEP}:_count", "keep = first_of_each(digests) & ~((buckets != 0) & (buckets >= state.clocks.dead_before))",
        "keep = first_of_each(digests)", "H15", "H2", "H12",
    ),
    without(
        "copies-within-a-batch-count", "6", "of copies in one batch the first counts",
        f"{STEP}:_count", "keep = first_of_each(digests) &", "keep =", "H15", "H2",
    ),
    without(
        "ids-of-rejected-are-kept", "6", "only counted events' ids are kept, so that a corrected resend counts",
        f"{STEP}:_reject", "key, event, sentence = batch.keys[at], rejection.event, rejection.sentence",
        "key, event, sentence = batch.keys[at], rejection.event, rejection.sentence\n"
        "    if event is not None:\n"
        "        prefix = np.frombuffer(state.digester.prefix(event.subject, event.source), np.uint64).reshape(1, 2)\n"
        "        digests = state.digester.digests(prefix, Names.of_bytes([event.id.encode()]))\n"
        "        state.ids.put(digests, state.clocks.now_ms // HOUR_MS, 0)", "H18",
    ),
    without(
        "ids-without-their-source", "6", "an id belongs to its customer and source",
        "streams.duplicates:Digester.prefixes", ", sources, of)", ", sources, np.zeros_like(of))", "H17",
    ),
    without(
        "ids-without-their-customer", "6", "two customers may use the same ids",
        "streams.duplicates:Digester.prefixes", "(customers, which,", "(customers, np.zeros_like(which),", "H17",
    ),
    without(
        "names-run-together-in-a-digest", "6", "customer and source are length-prefixed before they are digested",
        "streams.duplicates:Digester.prefixes", "return self._many.digests(customers, which, sources, of)",
        "joined = [bytes(customers[0][customers[1][one] : customers[1][one + 1]]) + bytes(sources[0][sources[1][two] : sources[1][two + 1]])\n"
        "              for one, two in zip(which, of)]\n"
        "    return np.frombuffer(b''.join(hashlib.blake2b(name, digest_size=16).digest() for name in joined), np.uint64).reshape(-1, 2)", "H17",
    ),
    without(
        "ids-padded-by-zeros", "6", "an id is padded by one 1 bit, so that no two ids are padded alike",
        "streams.duplicates:Digester.digests", "padded[np.arange(len(ids)), lengths] = 0x80", "pass", "H17",
    ),
    without(
        "ids-are-not-recovered", "6", "ids come back from the changelog after a crash",
        "streams.recovery:_take_ids", "if _is_live(state, record):", "if False:", "H12", "H2",
    ),
)  # fmt: skip

LAW_7: Final = (
    without(
        "half-an-event-counts", "7", "an event that one of its meters cannot read is rejected whole",
        f"{JUDGING}:postings_of", "if faults:", "if faults and not found:", "H18",
    ),
    without(
        "postings-counted-as-events", "7", "`counted` counts events, however many meters take them",
        f"{STEP}:_count", "state.counters.counted += len(fresh)",
        "state.counters.counted += sum(len(column.where) for column in sheet.columns.values())", "H18",
    ),
    without(
        "rejected-includes-too-late", "7", "each offset has exactly one fate: too late is not rejected as well",
        f"{STEP}:_reject", "state.counters.too_late += 1", "state.counters.too_late += 1\n        state.counters.rejected += 1", "H15",
    ),
    without(
        "markers-are-not-skipped", "7", "offsets without a record are counted as skipped",
        f"{STEP}:_move_to", "state.counters.skipped += next_offset - state.counters.next_offset - records", "pass", "H15", "H9",
    ),
    without(
        "gap-in-delivery-is-a-hole", "7", "a delivery that leaves offsets out stops the worker",
        f"{STEP}:step", "if batch.start_offset > counters.next_offset:", "if False:", "H15",
    ),
    without(
        "postings-uncounted", "7", "postings counted equal the events of all rows",
        "streams.adding:add", "state.counters.postings += len(of)", "state.counters.postings += len(slots)", "H18",
    ),
    without(
        "read-uncommitted", "7", "consumers read committed records only",
        "infra.delivery_thread:BatchConsumerThread._create_worker_consumer", '"read_committed"', '"read_uncommitted"', "H9",
    ),
    without(
        "aborted-records-read", "7", "records of an aborted transaction are passed, not handed over",
        "infra.delivery_columns:ColumnRecords._committed",
        "if batch.is_transactional and batch.producer_id in self._aborted_producers:", "if False:", "H9",
    ),
    without(
        "markers-read", "7", "a transaction's marker is passed, not handed over",
        "infra.delivery_columns:ColumnRecords._committed",
        "if batch.is_control_batch:\n            self.next_fetch_offset = batch.next_offset\n            continue", "pass", "H9",
    ),
    Mutation(
        "retention-passes-unseen", "7", "a log that lost what was never counted halts, with the range (two nets)",
        (Edit("streams.identity:check_identity", "if begin > next_offset:", "if False:"), NO_RANGE), ("H8",),
    ),
    Mutation(
        "begins-in-the-middle", "7", "a log without its beginning halts where there is no state (two nets)",
        (Edit("streams.identity:check_identity", "if end < next_offset:", "if fresh:\n        return\n    if end < next_offset:"),
         Edit("streams.identity:check_identity", "if fresh and begin > next_offset:", "if False:"), NO_RANGE), ("H8",),
    ),
    without(
        "reset-to-earliest", "7", "no consumer of ours has an offset reset",
        "infra.faust_app:build_app", 'consumer_auto_offset_reset="none"', 'consumer_auto_offset_reset="earliest"', "H8 reset",
    ),
)  # fmt: skip

LAW_8: Final = (
    without(
        "binding-cuts-at-once", "8", "a first binding is in force from an instant where no counted event can lie",
        f"{CONTROL}:_item_version", "_clear_of_rows(state, customer, meter, max(wished_s, safe_from_s(state, customer)))", "wished_s", "H5",
    ),
    without(
        "new-item-cuts-at-once", "8", "a later item is in force from an instant where no counted event can lie",
        f"{CONTROL}:_item_version", "from_s = max(wished_s or BEGINNING_S, safe_from_s(state, customer), last.valid_from_s + 1)",
        "from_s = max(wished_s or BEGINNING_S, last.valid_from_s + 1)", "H5",
    ),
    without(
        "change-cuts-a-row", "8", "a row that holds events stays whole when an item changes inside it",
        f"{CONTROL}:_clear_of_rows", "return instant_s if row is None else row.window.end_s", "return instant_s", "H5",
    ),
    without(
        "late-edge-cuts-a-row", "8", "an edge learned too late cuts no row that holds events",
        f"{CONTROL}:_item_version", "tuple(_too_late_edges(state, customer, meter, item, from_s)) if item is not None else ()", "()", "H5",
    ),
    without(
        "edges-do-not-cut", "8", "windows are cut at the customer's billing edges",
        "topics.definitions:Definitions.window_of", "if versions:", "if False:", "H5",
    ),
    without(
        "grid-changes-at-once", "8", "a new grid holds from an instant where no counted event can lie",
        f"{CONTROL}:_fold_meters", "wished_s = max(record.valid_from_s or BEGINNING_S, safe_from_s(state))",
        "wished_s = record.valid_from_s or safe_from_s(state) - 100_000", "H5",
    ),
    without(
        "grid-changes-off-the-old-one", "8", "a new grid begins at a boundary of the old one too",
        f"{CONTROL}:_meter_version", "return meter, next_common_boundary(from_s, [meter.window_s, last.meter.window_s]), False",
        "return meter, next_common_boundary(from_s, [meter.window_s]), False", "H5",
    ),
    without(
        "cut-window-remembered-as-whole", "8", "a grid cell that an edge cuts is looked up each time",
        f"{COLUMNS}:Reader._cut", "window.end_s - window.start_s != meter.window_s", "False", "H5",
    ),
    without(
        "key-without-escaping", "8", "`|` and `%` inside a name are escaped in a window's key",
        "topics.windows:_escape", 'return part.replace("%", "%25").replace("|", "%7C")', "return part", "H17",
    ),
    without(
        "key-escapes-bar-only", "8", "`%` itself is escaped, so that an escaped name is no other name's",
        "topics.windows:_escape", '.replace("%", "%25")', "", "H17",
    ),
)  # fmt: skip

LAW_10: Final = (
    without(
        "horizon-not-monotone", "10", "`final_until` only grows",
        f"{STEP}:_advance", "max(clocks.final_until_us, _final_us(timestamp_ms, timing))", "_final_us(timestamp_ms, timing)", "H13",
    ),
    without(
        "ahead-not-monotone", "8, 10", "the instant before which events may lie only grows, also when `future` is lowered",
        f"{STEP}:_advance", "max(clocks.ahead_until_us, _ahead_us(timestamp_ms, timing) + 1)", "_ahead_us(timestamp_ms, timing) + 1", "H5",
    ),
    without(
        "final-rows-go-unsaid", "10", "a final row is let go only after its newest revision was emitted",
        "streams.durability:_let_go", "if store.is_pending(slots).any():", "if False:", "H13",
    ),
    without(
        "late-events-open-new-rows", "10", "an event for a window that is final is too late",
        f"{JUDGING}:judge", "if occurred_at_us < time.final_until_us:", "if False:", "H13", "H3",
    ),
)  # fmt: skip

LAW_11: Final = (
    without(
        "float-on-the-fast-path", "11", "quantities are scaled integers, never binary floats",
        "topics.scan_amounts:amounts_of", "faults: list[int] = []",
        "faults: list[int] = []\n    amounts[:] = amounts.astype(np.float64).astype(np.uint64)", "H14",
    ),
    without(
        "decimal-context", "11", "a decimal string is read by its digits, not by Decimal's 28 of them",
        "topics.quantity:_from_text", "scaled: int = int(stripped) * 10 ** (power + PLACES)",
        "from decimal import Decimal\n    scaled = abs(int(Decimal(text) * 10**PLACES))", "H14",
    ),
    Mutation(
        "sums-wrap", "11", "sums are integers of any size",
        (
            Edit("streams.adding:add", "sums[:, 1].view(np.int64)", "sums[:, 1].view(np.int64) * 0"),
            Edit("streams.adding:add_one", "row.scaled += scaled", "row.scaled = (row.scaled + scaled + 2**63) % 2**64 - 2**63"),
        ), ("H14",),
    ),
    Mutation(
        "float-sums", "11", "sums are integers, never binary floats",
        (
            Edit("streams.adding:add", "sums[:, 0]", "sums[:, 0].astype(np.float64).astype(np.uint64)"),
            Edit("streams.adding:add_one", "row.scaled += scaled", "row.scaled = int(float(row.scaled) + scaled)"),
        ), ("H14",),
    ),
    without(
        "thirteenth-place-is-cut", "11", "a number of more than twelve places is refused, never rounded",
        "topics.quantity:_from_text", 'if power < -PLACES:\n        raise OutOfRange("the quantity has more than 12 decimal places")',
        'if power < -PLACES:\n        stripped, power = stripped[: power + PLACES] or "0", -PLACES', "H2",
    ),
    without(
        "archive-divides-by-context", "11", "the archive makes its decimals by text, not by a context's arithmetic",
        "sinks.clickhouse.bounds:_decimal", "return Decimal(format_scaled(scaled))", "return Decimal(scaled) / 10**PLACES", "H14",
    ),
    without(
        "report-sums-floats", "11", "the report adds exact totals",
        "sinks.units:total_of", "format_scaled(sum(parse_total(quantity) for quantity in quantities))",
        "format_scaled(int(sum(float(parse_total(quantity)) for quantity in quantities)))", "H14",
    ),
)  # fmt: skip

COUNTING: Final = LAW_0 + LAW_1 + LAW_6 + LAW_7 + LAW_8 + LAW_10 + LAW_11
