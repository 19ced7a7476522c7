-- Rows of half the size (infra/docs/archive-at-scale.md has the measurements): what an event says twice is stored once.
--
-- An event's id and time stand in its JSON and in columns of their own, and random ids are what compresses worst. So the stored JSON has
-- marks in their place, and record_value puts them back, byte for byte. The quantity stays in both places: that the evidence and the
-- column that is summed agree is worth its 3 bytes.
--
--  * The writer sends the unchanged bytes as sent_value and what it computed as sent_received_at; the engine shortens (DEFAULT) and
--    restores (ALIAS). Read record_value and record_received_at, never value and received_at: those are the stored form.
--  * layout 0: written before this migration, or by a worker that does not know it; value and received_at are what they say. Such rows
--    stay as they are for ever. layout 1: value begins with the byte 0 (the bytes follow unchanged) or 1 (marks stand in them).
--  * The marks are the bytes 1 (the id), 2 (whole second), 3 (millisecond), 6 (microsecond). A value that holds one of them is stored
--    unchanged, so whatever was sent, replacing the first of each mark gives it back exactly. No valid JSON holds any of them.
--  * received_at equals log_time unless the record was re-routed or replayed; then it stands here, else a millisecond before 1970.
--  * first_seen_inv counts down with the time from the log's append to the insert instead of the clock: of two rows of one coordinate the
--    first still wins, and a small number needs a byte where a clock needs four. Milliseconds: an insert takes longer. 2^62 puts it
--    below every version of layout 0, so an older row still wins over a newer one; the 5592405 ms more keep a broker whose clock is ahead
--    of ours from crossing a power of two, which T64 would pay for.

ALTER TABLE raw_events ADD COLUMN IF NOT EXISTS layout UInt8 CODEC(ZSTD(1)) COMMENT '0: value and received_at are the record''s own; 1: they are the stored form, read record_value and record_received_at';
ALTER TABLE raw_events ADD COLUMN IF NOT EXISTS sent_value String EPHEMERAL;
ALTER TABLE raw_events ADD COLUMN IF NOT EXISTS sent_received_at DateTime64(3, 'UTC') EPHEMERAL;

ALTER TABLE raw_events MODIFY COLUMN value String DEFAULT
    if(match(sent_value, '[\\x01\\x02\\x03\\x06]'), concat('\x00', sent_value), concat('\x01',
        replaceOne(replaceOne(replaceOne(replaceOne(sent_value,
            concat('"', event_id, '"'), '"\x01"'),
            concat(formatDateTime(occurred_at, '%Y-%m-%dT%H:%i:%S', 'UTC'), '.', leftPad(toString(positiveModulo(toUnixTimestamp64Micro(occurred_at), 1000000)), 6, '0')), '\x06'),
            concat(formatDateTime(occurred_at, '%Y-%m-%dT%H:%i:%S', 'UTC'), '.', leftPad(toString(intDiv(positiveModulo(toUnixTimestamp64Micro(occurred_at), 1000000), 1000)), 3, '0')), '\x03'),
            formatDateTime(occurred_at, '%Y-%m-%dT%H:%i:%S', 'UTC'), '\x02')))
    CODEC(ZSTD(7)) COMMENT 'the stored form: read record_value';
ALTER TABLE raw_events MODIFY COLUMN received_at DateTime64(3, 'UTC') DEFAULT if(sent_received_at = log_time, toDateTime64(-0.001, 3, 'UTC'), sent_received_at)
    CODEC(Delta(8), ZSTD(1)) COMMENT 'the stored form: read record_received_at';

ALTER TABLE raw_events ADD COLUMN IF NOT EXISTS record_value String ALIAS
    multiIf(layout = 0, value, NOT startsWith(value, '\x01'), substring(value, 2),
        replaceOne(replaceOne(replaceOne(replaceOne(substring(value, 2),
            '\x02', formatDateTime(occurred_at, '%Y-%m-%dT%H:%i:%S', 'UTC')),
            '\x03', concat(formatDateTime(occurred_at, '%Y-%m-%dT%H:%i:%S', 'UTC'), '.', leftPad(toString(intDiv(positiveModulo(toUnixTimestamp64Micro(occurred_at), 1000000), 1000)), 3, '0'))),
            '\x06', concat(formatDateTime(occurred_at, '%Y-%m-%dT%H:%i:%S', 'UTC'), '.', leftPad(toString(positiveModulo(toUnixTimestamp64Micro(occurred_at), 1000000)), 6, '0'))),
            '"\x01"', concat('"', event_id, '"')))
    COMMENT 'the record''s value, byte for byte';
ALTER TABLE raw_events ADD COLUMN IF NOT EXISTS record_received_at DateTime64(3, 'UTC') ALIAS
    if(layout = 1 AND received_at = toDateTime64(-0.001, 3, 'UTC'), log_time, received_at)
    COMMENT 'LogAppendTime of the record''s first arrival, before it was re-routed or replayed';

ALTER TABLE raw_events MODIFY COLUMN first_seen_inv UInt64 DEFAULT
    bitNot(toUInt64(4611686018432980309 + toUnixTimestamp64Milli(now64(3)) - toUnixTimestamp64Milli(log_time))) CODEC(T64, ZSTD(3));

-- GCD takes out what every number of a block has in common: a million millionths in each whole quantity, the microseconds of a producer
-- that has none. ZSTD(3) where nearly all rows are alike: ZSTD(1) spends a quarter of a byte a row on the lengths of strings and arrays
-- that are all the same. event_id stays at 1: random ids are no shorter at 3.
ALTER TABLE raw_events MODIFY COLUMN customer String CODEC(ZSTD(3));
ALTER TABLE raw_events MODIFY COLUMN source String CODEC(ZSTD(3));
ALTER TABLE raw_events MODIFY COLUMN type String CODEC(ZSTD(3));
ALTER TABLE raw_events MODIFY COLUMN occurred_at DateTime64(6, 'UTC') CODEC(GCD, Delta(8), ZSTD(1));
ALTER TABLE raw_events MODIFY COLUMN log_time DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(3));
ALTER TABLE raw_events MODIFY COLUMN quantities Array(Decimal(38, 12)) CODEC(GCD, ZSTD(1));
ALTER TABLE raw_events MODIFY COLUMN window_starts Array(DateTime64(0, 'UTC')) CODEC(DoubleDelta, ZSTD(3));
ALTER TABLE raw_events MODIFY COLUMN window_ends Array(DateTime64(0, 'UTC')) CODEC(DoubleDelta, ZSTD(3));

-- The view of 0002 with the restored columns, and what 0004 says of it.
CREATE OR REPLACE VIEW judged_events AS
SELECT
    e.customer AS customer, e.event_id AS event_id, e.source AS source, e.type AS type, e.kind AS kind,
    e.occurred_at AS occurred_at, e.record_received_at AS received_at,
    e.kafka_partition AS kafka_partition, e.generation AS generation, e.kafka_offset AS kafka_offset,
    multiIf(v.verdict != '', toString(v.verdict), e.kind = 'control', 'control', e.kind = 'usage' AND notEmpty(e.meters), 'counted',
            'unexplained') AS verdict,
    toString(v.reason) AS reason, v.sentence AS sentence,
    CAST(e.meters, 'Array(String)') AS meters, e.quantities AS quantities, e.window_starts AS window_starts, e.window_ends AS window_ends,
    e.record_value AS value
FROM raw_events AS e FINAL
INNER JOIN (SELECT kafka_partition, generation, max(next_offset) AS next_offset FROM mark_log GROUP BY kafka_partition, generation) AS m
    ON m.kafka_partition = e.kafka_partition AND m.generation = e.generation
LEFT JOIN (SELECT customer, kafka_partition, generation, kafka_offset, verdict, reason, sentence FROM verdict_log FINAL) AS v
    ON v.customer = e.customer AND v.kafka_partition = e.kafka_partition AND v.generation = e.generation AND v.kafka_offset = e.kafka_offset
WHERE e.kafka_offset < m.next_offset;

ALTER TABLE judged_events
    MODIFY COMMENT 'A record of usage.events with its verdict, re-routed and control records included. Nothing past the archived mark',
    COMMENT COLUMN customer 'the record''s key',
    COMMENT COLUMN event_id 'CloudEvents id; empty where the record is no event',
    COMMENT COLUMN source 'CloudEvents source; empty where the record is no event',
    COMMENT COLUMN type 'CloudEvents type; tidemark.… for control records',
    COMMENT COLUMN kind 'usage, control, or unreadable (no CloudEvent)',
    COMMENT COLUMN occurred_at 'when it happened, says the producer; without a time, when it was received',
    COMMENT COLUMN received_at 'the broker''s time of its first arrival, kept when it was re-routed or replayed',
    COMMENT COLUMN kafka_partition 'partition of usage.events',
    COMMENT COLUMN generation 'which log the offset belongs to: rises when a recreated topic is adopted',
    COMMENT COLUMN kafka_offset 'offset of the record on its partition',
    COMMENT COLUMN verdict 'counted, duplicate, rejected, too_late, rerouted or control; unexplained does not occur',
    COMMENT COLUMN reason 'why it was rejected, one short stable word; empty otherwise',
    COMMENT COLUMN sentence 'the same for people',
    COMMENT COLUMN meters 'slugs of the meters that it selects; this and the next three have one element for each posting',
    COMMENT COLUMN quantities 'what it adds to each meter, exact to 12 places',
    COMMENT COLUMN window_starts 'start of each posting''s window, inclusive, UTC',
    COMMENT COLUMN window_ends 'end of each posting''s window, exclusive, UTC',
    COMMENT COLUMN value 'the record''s exact bytes';
