-- The views of SURFACES: the only thing analysts, the command line and dashboards read. They read FINAL, so a row that was written
-- twice is one row. Forward-only: a changed view is a new file with CREATE OR REPLACE.
--
-- Two habits keep them fast. The verdict is joined on the customer as well as on the coordinate, so that a filter on one customer is
-- pushed into both sides and reads two granules. Totals of two kinds meet by UNION ALL and GROUP BY, never by FULL JOIN, which would
-- read everything before it filters.

-- Every record that has its verdict, with the verdict: counted where there is none on usage.verdicts. Re-routed and control records are
-- listed here and in no other view. 'unexplained' does not occur: it would be a record without a verdict in which the archive reads no
-- posting, and `integrity` would show it as counted_missing.
CREATE VIEW IF NOT EXISTS judged_events AS
SELECT
    e.customer AS customer, e.event_id AS event_id, e.source AS source, e.type AS type, e.kind AS kind,
    e.occurred_at AS occurred_at, e.received_at AS received_at,
    e.kafka_partition AS kafka_partition, e.generation AS generation, e.kafka_offset AS kafka_offset,
    multiIf(v.verdict != '', toString(v.verdict), e.kind = 'control', 'control', e.kind = 'usage' AND notEmpty(e.meters), 'counted',
            'unexplained') AS verdict,
    toString(v.reason) AS reason, v.sentence AS sentence,
    CAST(e.meters, 'Array(String)') AS meters, e.quantities AS quantities, e.window_starts AS window_starts, e.window_ends AS window_ends,
    e.value AS value
FROM raw_events AS e FINAL
INNER JOIN (SELECT kafka_partition, generation, max(next_offset) AS next_offset FROM mark_log GROUP BY kafka_partition, generation) AS m
    ON m.kafka_partition = e.kafka_partition AND m.generation = e.generation
LEFT JOIN (SELECT customer, kafka_partition, generation, kafka_offset, verdict, reason, sentence FROM verdict_log FINAL) AS v
    ON v.customer = e.customer AND v.kafka_partition = e.kafka_partition AND v.generation = e.generation AND v.kafka_offset = e.kafka_offset
WHERE e.kafka_offset < m.next_offset;

-- One row a posting of a counted event; a duplicate, rejected or too late event once, with empty meter, quantity 0 and its window at
-- 1970-01-01. Of a re-routed event only its home record. Nothing at or past the partition's archived mark.
CREATE VIEW IF NOT EXISTS usage_events
(
    event_id String, source String,
    customer String, meter String,
    quantity Decimal(38, 12),
    occurred_at DateTime64(6, 'UTC'), received_at DateTime64(3, 'UTC'),
    kafka_partition UInt32, kafka_offset UInt64,
    verdict String,
    window_start DateTime64(0, 'UTC'), window_end DateTime64(0, 'UTC'),
    generation UInt32, type String, reason String
) AS
SELECT
    event_id, source, customer, posting.1 AS meter, posting.2 AS quantity, occurred_at, received_at,
    kafka_partition, kafka_offset, verdict, posting.3 AS window_start, posting.4 AS window_end, generation, type, reason
FROM judged_events
ARRAY JOIN if(verdict = 'counted', arrayZip(meters, quantities, window_starts, window_ends),
              [('', toDecimal128(0, 12), toDateTime64(0, 0, 'UTC'), toDateTime64(0, 0, 'UTC'))]) AS posting
WHERE verdict IN ('counted', 'duplicate', 'rejected', 'too_late');

-- Every revision of every window, oldest first by (generation, through_offset).
CREATE VIEW IF NOT EXISTS window_revisions AS
SELECT customer, toString(w.meter) AS meter, window_start, window_end, generation, through_offset, quantity, events, first_offset,
       kafka_partition, hash, closed_at
FROM window_log AS w FINAL;

-- The newest total of every window that was ever emitted.
CREATE VIEW IF NOT EXISTS window_totals AS
SELECT w.customer AS customer, toString(w.meter) AS meter, w.window_start AS window_start, w.window_end AS window_end,
       argMax(w.quantity, (w.generation, w.through_offset)) AS quantity,
       argMax(w.events, (w.generation, w.through_offset)) AS events,
       max((w.generation, w.through_offset)).1 AS generation,
       max((w.generation, w.through_offset)).2 AS through_offset,
       argMax(w.first_offset, (w.generation, w.through_offset)) AS first_offset,
       argMax(w.kafka_partition, (w.generation, w.through_offset)) AS kafka_partition,
       argMax(w.hash, (w.generation, w.through_offset)) AS hash,
       argMax(w.closed_at, (w.generation, w.through_offset)) AS closed_at,
       count() AS revisions
FROM window_log AS w FINAL
GROUP BY w.customer, w.meter, w.window_start, w.window_end;

-- The totals counted again from the raw events, with the content hash (topics/content_hash.py), by the engine alone. A window goes on
-- through a recreated log (`tidemark adopt`), so it is counted over all generations.
CREATE VIEW IF NOT EXISTS window_recount AS
SELECT e.customer AS customer, e.meter AS meter, e.window_start AS window_start, e.window_end AS window_end,
       sum(toDecimal256(e.quantity, 12)) AS quantity, count() AS events,
       max((e.generation, e.kafka_offset)).1 AS generation, max((e.generation, e.kafka_offset)).2 AS through_offset,
       min((e.generation, e.kafka_offset)).2 AS first_offset, any(e.kafka_partition) AS kafka_partition,
       leftPad(lower(hex(sum(reinterpretAsUInt256(SHA256(concat(
           reinterpretAsFixedString(toUInt32(length(e.customer))), e.customer, reinterpretAsFixedString(toUInt32(length(e.meter))), e.meter,
           reinterpretAsFixedString(toUInt32(length(e.source))), e.source, reinterpretAsFixedString(toUInt32(length(e.event_id))), e.event_id,
           reinterpretAsFixedString(toUnixTimestamp64Micro(e.occurred_at)), reinterpretAsFixedString(e.quantity))))))), 64, '0') AS hash
FROM usage_events AS e
WHERE e.verdict = 'counted'
GROUP BY e.customer, e.meter, e.window_start, e.window_end;

-- Each attempt to deliver, its newest state, one row for each window that it sums (nearly always one); and windows parked whole.
CREATE VIEW IF NOT EXISTS deliveries AS
SELECT customer, meter, part.1 AS window_start, part.2 AS window_end, part.3 AS generation, part.4 AS through_offset,
       part.5 AS window_quantity, provider, account, cell, kind, revision, attempt,
       a.1 AS state, a.2 AS outcome, a.3 AS reason, a.4 AS sentence, a.5 AS quantity, a.6 AS units, a.7 AS item, a.8 AS subscription,
       b.1 AS reported_time, b.2 AS period_start, b.3 AS period_end, b.4 AS idempotency_key, b.5 AS http_status, b.6 AS request_id,
       c.1 AS intent_at, c.2 AS reported_at, c.3 AS closed_at, kafka_partition, log_offset
FROM
(
    SELECT r.customer AS customer, toString(r.meter) AS meter, toString(r.provider) AS provider, toString(r.account) AS account,
           r.cell AS cell, toString(r.kind) AS kind, r.revision AS revision, r.attempt AS attempt,
           max(r.log_offset) AS log_offset, any(r.log_partition) AS kafka_partition,
           argMax((toString(r.state), toString(r.outcome), toString(r.reason), r.sentence, r.quantity, r.units, r.item, r.subscription),
                  r.log_offset) AS a,
           argMax((r.reported_time, r.period_start, r.period_end, r.idempotency_key, r.http_status, r.request_id), r.log_offset) AS b,
           argMax((r.intent_at, r.reported_at, r.closed_at), r.log_offset) AS c,
           argMax(arrayZip(r.window_starts, r.window_ends, r.generations, r.through_offsets, r.window_quantities), r.log_offset) AS parts
    FROM receipt_log AS r FINAL
    GROUP BY r.customer, r.meter, r.provider, r.account, r.cell, r.kind, r.revision, r.generation, r.attempt
)
ARRAY JOIN parts AS part;

-- Rejected and too late events with their exact bytes.
CREATE VIEW IF NOT EXISTS rejected_events AS
SELECT toString(r.reason) AS reason, sentence, customer, subject, event_id, source, type, toString(r.kafka_topic) AS kafka_topic,
       kafka_partition, kafka_offset, received_at, rejected_at, value, key_is_null, value_is_null, header_names, header_values
FROM rejected_log AS r FINAL;

-- Who is billed where, each version with the instants it holds for; item is empty where the binding ended.
CREATE VIEW IF NOT EXISTS bindings AS
SELECT customer, meter, JSONExtractString(bound, 'provider') AS provider, JSONExtractString(bound, 'account') AS account,
       JSONExtractString(bound, 'mode') AS mode, JSONExtractString(bound, 'item') AS item, JSONExtractString(bound, 'price') AS price,
       JSONExtractString(bound, 'subscription') AS subscription, JSONExtractString(bound, 'period') AS period,
       JSONExtractUInt(bound, 'period_count') AS period_count,
       toDateTime64(JSONExtractInt(bound, 'period_anchor_s'), 0, 'UTC') AS period_anchor,
       JSONExtractString(bound, 'scale') AS scale, JSONExtractString(bound, 'fractions') AS fractions, JSONExtractString(bound, 'late') AS late,
       valid_from,
       leadInFrame(valid_from, 1, toDateTime64('2299-12-31 23:59:59', 0, 'UTC')) OVER
           (PARTITION BY customer, meter ORDER BY valid_from ROWS BETWEEN CURRENT ROW AND 1 FOLLOWING) AS valid_until,
       kafka_partition, kafka_offset
FROM
(
    SELECT d.id AS customer, d.meter AS meter, d.valid_from AS valid_from, max(d.control_offset) AS kafka_offset,
           any(d.log_partition) AS kafka_partition, JSONExtractRaw(argMax(d.body, (d.control_offset, d.log_offset)), 'item') AS bound
    FROM definition_log AS d FINAL
    WHERE d.kind = 'binding'
    GROUP BY d.id, d.meter, d.valid_from
);

-- Every window that the archive knows of, in exactly one state:
--   open         holds counted events that no revision covers yet, and was never emitted
--   reopened     was emitted, and holds newer counted events
--   undelivered  its newest revision has no definite answer yet
--   delivered    the provider holds its newest revision
--   parked       its newest revision waits for a person (refused, unknown, fraction, before its period …): see reason
--   unbound      nobody is told to bill it
-- counted is what the raw events sum up to, emitted and delivered what the newest revision and the provider hold.
CREATE VIEW IF NOT EXISTS coverage AS
SELECT customer, meter, window_start, window_end,
       multiIf(newest_event > emitted_revision AND emitted_revision = (0, 0), 'open',
               newest_event > emitted_revision, 'reopened',
               answered_revision < emitted_revision, 'undelivered',
               state IN ('delivered', 'confirmed'), 'delivered',
               state = 'unbound', 'unbound',
               state IN ('refused', 'unknown', 'parked'), 'parked',
               'undelivered') AS state,
       reason, counted, counted_events, emitted, emitted_events, delivered, counted - emitted AS not_emitted, emitted - delivered AS not_delivered
FROM
(
    SELECT customer, meter, window_start, window_end,
           sum(q_counted) AS counted, sum(n_counted) AS counted_events, max(r_counted) AS newest_event,
           argMax(q_emitted, r_emitted) AS emitted, argMax(n_emitted, r_emitted) AS emitted_events, max(r_emitted) AS emitted_revision,
           max(r_answered.1) AS answered_revision, argMax(s_answered, r_answered) AS state, argMax(why, r_answered) AS reason,
           argMax(q_delivered, r_delivered) AS delivered
    FROM
    (
        SELECT customer, meter, window_start, window_end, toDecimal256(quantity, 12) AS q_counted, toUInt64(1) AS n_counted,
               (toUInt64(generation), kafka_offset + 1) AS r_counted,
               toDecimal256(0, 12) AS q_emitted, toUInt64(0) AS n_emitted, (toUInt64(0), toUInt64(0)) AS r_emitted,
               ((toUInt64(0), toUInt64(0)), toUInt64(0)) AS r_answered, '' AS s_answered, '' AS why,
               toDecimal256(0, 12) AS q_delivered, ((toUInt64(0), toUInt64(0)), toUInt64(0)) AS r_delivered
        FROM usage_events WHERE verdict = 'counted'
        UNION ALL
        SELECT customer, meter, window_start, window_end, toDecimal256(0, 12), toUInt64(0), (toUInt64(0), toUInt64(0)),
               quantity, events, (generation, through_offset + 1),
               ((toUInt64(0), toUInt64(0)), toUInt64(0)), '', '', toDecimal256(0, 12), ((toUInt64(0), toUInt64(0)), toUInt64(0))
        FROM window_totals
        UNION ALL
        SELECT customer, meter, window_start, window_end, toDecimal256(0, 12), toUInt64(0), (toUInt64(0), toUInt64(0)),
               toDecimal256(0, 12), toUInt64(0), (toUInt64(0), toUInt64(0)),
               ((generation, through_offset + 1), if(state = 'bound', toUInt64(0), log_offset + 1)),
               if(kind = 'window' AND reason = 'unbound', 'unbound', state), reason,
               if(state IN ('delivered', 'confirmed'), window_quantity, toDecimal256(0, 12)),
               if(state IN ('delivered', 'confirmed'), ((generation, through_offset + 1), log_offset + 1),
                  ((toUInt64(0), toUInt64(0)), toUInt64(0)))
        FROM deliveries
    )
    GROUP BY customer, meter, window_start, window_end
);

-- Per partition and generation: the meter's own conservation (law 7) beside what the archive holds below the same mark. Every
-- difference is 0 once raw events are archived up to the mark.
CREATE VIEW IF NOT EXISTS integrity AS
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
                countIf(verdict = 'rerouted'), countIf(verdict = 'control'), sumIf(length(meters), verdict = 'counted'))
        FROM judged_events GROUP BY kafka_partition, generation
    )
    GROUP BY kafka_partition, generation
);
