-- Amendments (`tidemark.amend`, topics/amendments.py): a correction is a record of its own whose raw row carries its postings, signed differences.
-- One that acts is `control` among the verdicts of the log, and counts in its windows as an event does, so whatever adds up usage_events is right
-- without knowing of it. One that was refused has its verdict and counts nothing.

-- One row a posting of a counted event; a duplicate, rejected or too late event once, with empty meter, quantity 0 and its window at
-- 1970-01-01. Of a re-routed event only its home record. Nothing at or past the partition's archived mark. An amendment that acts stands here as
-- counted, with the difference it makes; `amends` is the id of the event that it amends, empty in every other row.
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
    event_id, source, customer, posting.1 AS meter, posting.2 AS quantity, occurred_at, received_at,
    kafka_partition, kafka_offset, if(verdict = 'control', 'counted', verdict) AS verdict,
    posting.3 AS window_start, posting.4 AS window_end, generation, type, reason,
    if(type = 'tidemark.amend', JSONExtractString(value, 'data', 'of', 'id'), '') AS amends
FROM
(
    SELECT event_id, source, customer, occurred_at, received_at, kafka_partition, kafka_offset, verdict, generation, type, reason, value,
           meters, quantities, window_starts, window_ends
    FROM judged_events
    WHERE verdict IN ('counted', 'duplicate', 'rejected', 'too_late') OR (verdict = 'control' AND notEmpty(meters))
)
ARRAY JOIN if(verdict IN ('counted', 'control'), arrayZip(meters, quantities, window_starts, window_ends),
              [('', toDecimal128(0, 12), toDateTime64(0, 0, 'UTC'), toDateTime64(0, 0, 'UTC'))]) AS posting;

-- Who corrected what, when and why: one row a posting of an amendment, whether it acts (`applied`) or was `refused` (`sentence` says why).
-- `amends` is the event that is voided or set, empty where a window's total itself was corrected; `delta` is added to the window.
CREATE VIEW IF NOT EXISTS amendments AS
SELECT customer, event_id AS amendment, if(verdict = 'control', 'applied', 'refused') AS state,
       JSONExtractString(value, 'data', 'kind') AS kind,
       JSONExtractString(value, 'data', 'of', 'id') AS amends, JSONExtractString(value, 'data', 'of', 'source') AS amends_source,
       JSONExtractUInt(value, 'data', 'of', 'generation') AS amends_generation, JSONExtractUInt(value, 'data', 'of', 'offset') AS amends_offset,
       posting.1 AS meter, posting.3 AS window_start, posting.4 AS window_end, posting.2 AS delta, occurred_at, received_at AS amended_at,
       JSONExtractString(value, 'data', 'who') AS who, JSONExtractString(value, 'data', 'reason') AS reason,
       JSONExtractString(value, 'data', 'replaces') AS replaces, sentence, kafka_partition, generation, kafka_offset
FROM
(
    SELECT customer, event_id, verdict, value, occurred_at, received_at, sentence, kafka_partition, generation, kafka_offset,
           meters, quantities, window_starts, window_ends
    FROM judged_events
    WHERE type = 'tidemark.amend'
)
ARRAY JOIN if(notEmpty(meters), arrayZip(meters, quantities, window_starts, window_ends),
              [('', toDecimal128(0, 12), toDateTime64(0, 0, 'UTC'), toDateTime64(0, 0, 'UTC'))]) AS posting;

-- Per partition and generation: the meter's own conservation (law 7) beside what the archive holds below the same mark. Every
-- difference is 0 once raw events are archived up to the mark. The view of 0002 once more, with the postings of amendments.
CREATE OR REPLACE VIEW integrity AS
SELECT kafka_partition, generation, base, next_offset, archived_offset, counted, duplicate, rejected, too_late, rerouted, control, skipped,
       postings,
       toInt64(next_offset - base) - toInt64(counted + duplicate + rejected + too_late + rerouted + control + skipped) AS residual,
       toInt64(counted) - toInt64(raw_counted) AS counted_missing,
       toInt64(duplicate) - toInt64(raw_duplicate) AS duplicate_missing,
       toInt64(rejected) - toInt64(raw_rejected) AS rejected_missing,
       toInt64(too_late) - toInt64(raw_too_late) AS too_late_missing,
       toInt64(rerouted) - toInt64(raw_rerouted) AS rerouted_missing,
       toInt64(control) - toInt64(raw_control) AS control_missing,
       -- The meter's count of postings goes on through an adopted log, all the others begin anew with it.
       toInt64(postings) - toInt64(sum(raw_postings) OVER (PARTITION BY kafka_partition ORDER BY generation)) AS postings_missing
FROM
(
    SELECT kafka_partition, generation, max(m.1) AS next_offset, max(m.2) AS base, max(m.3) AS counted, max(m.4) AS duplicate,
           max(m.5) AS rejected, max(m.6) AS too_late, max(m.7) AS rerouted, max(m.8) AS control, max(m.9) AS skipped,
           max(m.10) AS postings, max(archived) AS archived_offset,
           sum(r.1) AS raw_counted, sum(r.2) AS raw_duplicate, sum(r.3) AS raw_rejected, sum(r.4) AS raw_too_late,
           sum(r.5) AS raw_rerouted, sum(r.6) AS raw_control, sum(r.7) AS raw_postings
    FROM
    (
        SELECT kafka_partition, generation,
               (next_offset, base, counted, duplicate, rejected, too_late, rerouted, control, skipped, postings) AS m, toUInt64(0) AS archived,
               (toUInt64(0), toUInt64(0), toUInt64(0), toUInt64(0), toUInt64(0), toUInt64(0), toUInt64(0)) AS r
        FROM mark_log FINAL
        UNION ALL
        SELECT kafka_partition, generation,
               (toUInt64(0), toUInt64(0), toUInt64(0), toUInt64(0), toUInt64(0), toUInt64(0), toUInt64(0), toUInt64(0), toUInt64(0), toUInt64(0)),
               next_offset, (toUInt64(0), toUInt64(0), toUInt64(0), toUInt64(0), toUInt64(0), toUInt64(0), toUInt64(0))
        FROM progress FINAL WHERE topic = 'usage.events'
        UNION ALL
        SELECT kafka_partition, generation,
               (toUInt64(0), toUInt64(0), toUInt64(0), toUInt64(0), toUInt64(0), toUInt64(0), toUInt64(0), toUInt64(0), toUInt64(0), toUInt64(0)),
               toUInt64(0),
               (countIf(verdict = 'counted'), countIf(verdict = 'duplicate'), countIf(verdict = 'rejected'), countIf(verdict = 'too_late'),
                countIf(verdict = 'rerouted'), countIf(verdict = 'control'),
                sumIf(length(meters), verdict IN ('counted', 'control')))
        FROM judged_events GROUP BY kafka_partition, generation
    )
    GROUP BY kafka_partition, generation
);

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

ALTER TABLE amendments
    MODIFY COMMENT 'A posting of an amendment: a correction of one event, or of a window, that is a record of its own; what it corrects stays',
    COMMENT COLUMN customer 'whose usage is corrected',
    COMMENT COLUMN amendment 'id of the amendment''s own record',
    COMMENT COLUMN state 'applied, or refused (then sentence says why, and it changed nothing)',
    COMMENT COLUMN kind 'void or set (of one event), correct (of a window''s total), accept (looked at and left as it is: it posts nothing)',
    COMMENT COLUMN amends 'id of the event that it is about; empty for correct',
    COMMENT COLUMN amends_source 'CloudEvents source of that event',
    COMMENT COLUMN amends_generation 'log of that event; its partition is kafka_partition',
    COMMENT COLUMN amends_offset 'offset of that event',
    COMMENT COLUMN meter 'slug of the meter that it posts to; empty for accept',
    COMMENT COLUMN window_start 'start of the window that it posts to, inclusive, UTC; 1970-01-01 for accept',
    COMMENT COLUMN window_end 'end of that window, exclusive, UTC; 1970-01-01 for accept',
    COMMENT COLUMN delta 'what it adds to the window, signed, exact to 12 places',
    COMMENT COLUMN occurred_at 'the time of the event that it is about; for correct an instant of the window',
    COMMENT COLUMN amended_at 'the broker''s time of its record',
    COMMENT COLUMN who 'who made it',
    COMMENT COLUMN reason 'why, in their words',
    COMMENT COLUMN replaces 'digest of the amendment of the same event that it replaces; empty where it is the first',
    COMMENT COLUMN sentence 'why it was refused; empty otherwise',
    COMMENT COLUMN kafka_partition 'partition of usage.events that it lies on',
    COMMENT COLUMN generation 'which log its offset belongs to',
    COMMENT COLUMN kafka_offset 'offset of its record';

ALTER TABLE integrity
    MODIFY COMMENT 'A partition: the meter''s own conservation beside what the archive holds below the same mark. Every difference is 0',
    COMMENT COLUMN kafka_partition 'partition of usage.events',
    COMMENT COLUMN generation 'which log the offsets belong to',
    COMMENT COLUMN base 'offset that the meter began to count at',
    COMMENT COLUMN next_offset 'first offset that the meter has not decided yet, as far as the archive knows',
    COMMENT COLUMN archived_offset 'first offset that the archive has not copied yet',
    COMMENT COLUMN counted 'events counted, says the meter',
    COMMENT COLUMN duplicate 'duplicates, says the meter',
    COMMENT COLUMN rejected 'rejected events without the too late ones, says the meter',
    COMMENT COLUMN too_late 'events that came too late, says the meter',
    COMMENT COLUMN rerouted 'events sent to their home partition, says the meter',
    COMMENT COLUMN control 'control records, says the meter',
    COMMENT COLUMN skipped 'offsets without a record: markers of transactions',
    COMMENT COLUMN postings 'postings of counted events and of amendments, says the meter',
    COMMENT COLUMN residual 'offsets without exactly one fate: must be 0',
    COMMENT COLUMN counted_missing 'counted events that the archive has not: must be 0',
    COMMENT COLUMN duplicate_missing 'duplicates that the archive has not: must be 0',
    COMMENT COLUMN rejected_missing 'rejected events that the archive has not: must be 0',
    COMMENT COLUMN too_late_missing 'too late events that the archive has not: must be 0',
    COMMENT COLUMN rerouted_missing 're-routed events that the archive has not: must be 0',
    COMMENT COLUMN control_missing 'control records that the archive has not: must be 0',
    COMMENT COLUMN postings_missing 'postings that the archive has not: must be 0';
