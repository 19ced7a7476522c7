-- usage_events of 0006, asked of the tables themselves instead of judged_events: the same rows, for a fifth less work before the first row is
-- read, which is most of what a window's drill-down costs. A record without a row in verdict_log and with postings counts: a usage event, or an
-- amendment that acts. One without postings and verdict is a control record, or `integrity` shows it. What is unreadable has no postings.
CREATE OR REPLACE VIEW usage_events
(
    event_id String, source String,
    customer String, meter String,
    quantity Decimal(38, 12),
    occurred_at DateTime64(6, 'UTC'), received_at DateTime64(3, 'UTC'),
    kafka_partition UInt32, kafka_offset UInt64,
    verdict String,
    window_start DateTime64(0, 'UTC'), window_end DateTime64(0, 'UTC'),
    generation UInt32, type String, reason String,
    amends String
) AS
SELECT
    e.event_id AS event_id, e.source AS source, e.customer AS customer, posting.1 AS meter, posting.2 AS quantity,
    e.occurred_at AS occurred_at, e.record_received_at AS received_at, e.kafka_partition AS kafka_partition, e.kafka_offset AS kafka_offset,
    if(v.verdict = '', 'counted', toString(v.verdict)) AS verdict,
    posting.3 AS window_start, posting.4 AS window_end, e.generation AS generation, e.type AS type, toString(v.reason) AS reason,
    if(e.type = 'tidemark.amend', JSONExtractString(e.record_value, 'data', 'of', 'id'), '') AS amends
FROM raw_events AS e FINAL
INNER JOIN (SELECT kafka_partition, generation, max(next_offset) AS next_offset FROM mark_log GROUP BY kafka_partition, generation) AS m
    ON m.kafka_partition = e.kafka_partition AND m.generation = e.generation
LEFT JOIN (SELECT customer, kafka_partition, generation, kafka_offset, verdict, reason FROM verdict_log FINAL) AS v
    ON v.customer = e.customer AND v.kafka_partition = e.kafka_partition AND v.generation = e.generation AND v.kafka_offset = e.kafka_offset
ARRAY JOIN if(v.verdict = '', arrayZip(CAST(e.meters, 'Array(String)'), e.quantities, e.window_starts, e.window_ends),
              [('', toDecimal128(0, 12), toDateTime64(0, 0, 'UTC'), toDateTime64(0, 0, 'UTC'))]) AS posting
WHERE e.kafka_offset < m.next_offset AND ifNull(v.verdict, '') != 'rerouted';

ALTER TABLE usage_events
    MODIFY COMMENT 'A posting of a counted event or of an amendment; a duplicate, rejected or too late event once, with an empty meter. Nothing past the archived mark',
    COMMENT COLUMN event_id 'CloudEvents id, as the producer gave it',
    COMMENT COLUMN source 'CloudEvents source: the producer. (customer, source, event_id) counts once',
    COMMENT COLUMN customer 'who used it: the record''s key, and subject of the event',
    COMMENT COLUMN meter 'slug of the meter that counted it; empty where the verdict is not counted',
    COMMENT COLUMN quantity 'what this event adds to the meter, exact to 12 places; of an amendment the difference; 0 where it is not counted',
    COMMENT COLUMN occurred_at 'when it happened, says the producer; without a time, when it was received',
    COMMENT COLUMN received_at 'the broker''s time (LogAppendTime) of its first arrival, kept when it was re-routed or replayed',
    COMMENT COLUMN kafka_partition 'partition of usage.events; with generation and kafka_offset the coordinate of the record',
    COMMENT COLUMN kafka_offset 'offset of the record on its partition',
    COMMENT COLUMN verdict 'counted, duplicate, rejected or too_late',
    COMMENT COLUMN window_start 'start of the window that it counts in, inclusive, UTC; 1970-01-01 where it is not counted',
    COMMENT COLUMN window_end 'end of that window, exclusive, UTC; 1970-01-01 where it is not counted',
    COMMENT COLUMN generation 'which log the offset belongs to: rises when a recreated topic is adopted',
    COMMENT COLUMN type 'CloudEvents type, by which meters select events; tidemark.amend for an amendment',
    COMMENT COLUMN reason 'why it was rejected, one short stable word; empty otherwise',
    COMMENT COLUMN amends 'in the row of an amendment the id of the event that it voids or sets anew; empty in every other row';
