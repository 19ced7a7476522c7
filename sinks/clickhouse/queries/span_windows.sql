-- The proof, in one pass over the events: every window that starts in [from_s, to_s), its counted events by the first revision that covers them
-- (part 1, 2 …; 0: no revision yet), added up and hashed by the engine from the rows alone. Adding the parts up gives each revision again.
-- A window is at most a day long, so its events lie before until_s ≤ to_s + a day: that keeps the reading to the sort key's own stretch.
SELECT intDiv(toUnixTimestamp64Milli(toDateTime64(e.window_start, 3)), 1000) AS start_s,
       intDiv(toUnixTimestamp64Milli(toDateTime64(e.window_end, 3)), 1000) AS end_s,
       arrayFirstIndex(revision -> (toUInt64(e.generation), e.kafka_offset) <= revision, r.revisions) AS part,
       sum(toDecimal256(e.quantity, 12)) AS quantity, count() AS events,
       leftPad(lower(hex(sum(reinterpretAsUInt256(SHA256(concat(
           reinterpretAsFixedString(toUInt32(length(e.customer))), e.customer, reinterpretAsFixedString(toUInt32(length(e.meter))), e.meter,
           reinterpretAsFixedString(toUInt32(length(e.source))), e.source, reinterpretAsFixedString(toUInt32(length(e.event_id))), e.event_id,
           reinterpretAsFixedString(toUnixTimestamp64Micro(e.occurred_at)), reinterpretAsFixedString(e.quantity))))))), 64, '0') AS hash,
       min((toUInt64(e.generation), e.kafka_offset)) AS first, max((toUInt64(e.generation), e.kafka_offset)) AS last,
       any(e.kafka_partition) AS kafka_partition, countIf(e.type = 'tidemark.amend') AS amended
FROM
(
    SELECT * FROM usage_events
    WHERE customer = {customer:String} AND meter = {meter:String} AND verdict = 'counted'
      AND occurred_at >= fromUnixTimestamp64Micro({from_s:Int64} * 1000000, 'UTC')
      AND occurred_at < fromUnixTimestamp64Micro({until_s:Int64} * 1000000, 'UTC')
      AND window_start >= toDateTime64({from_s:Int64}, 0, 'UTC') AND window_start < toDateTime64({to_s:Int64}, 0, 'UTC')
) AS e
LEFT JOIN
(
    SELECT window_start, window_end, arraySort(groupArray((generation, through_offset))) AS revisions
    FROM window_revisions
    WHERE customer = {customer:String} AND meter = {meter:String}
      AND window_start >= toDateTime64({from_s:Int64}, 0, 'UTC') AND window_start < toDateTime64({to_s:Int64}, 0, 'UTC')
    GROUP BY window_start, window_end
) AS r ON r.window_start = e.window_start AND r.window_end = e.window_end
GROUP BY start_s, end_s, part
ORDER BY start_s, end_s, part
