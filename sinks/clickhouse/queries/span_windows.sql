-- The proof, in one pass over the events: every window that starts in [from_s, to_s), its counted events by the first revision that covers them
-- (part 1, 2 …; 0: no revision yet), added up and hashed by the engine from the rows alone. Adding the parts up gives each revision again.
-- A window is at most a day long, so its events lie before until_s ≤ to_s + a day: that keeps the reading to the sort key's own stretch.
--
-- What usage_events calls counted, asked of the tables: at a million events its join with the verdicts and its unfolding of every posting cost as much
-- as the rest. The marks are named before the verdicts, so they are read first (law 19), as in window_events. And by generation first: the engine
-- compares pairs one by one, which for the last coordinate of a million events took longer than their hashes.
SELECT intDiv(toUnixTimestamp64Milli(toDateTime64(window_start, 3)), 1000) AS start_s,
       intDiv(toUnixTimestamp64Milli(toDateTime64(window_end, 3)), 1000) AS end_s,
       part, sum(p.quantity) AS quantity, sum(p.events) AS events, leftPad(lower(hex(sum(p.hash))), 64, '0') AS hash,
       max((toUInt64(generation), last_offset)) AS last, any(p.kafka_partition) AS kafka_partition, sum(p.amended) AS amended
FROM
(
    SELECT window_start, window_end, generation,
           arrayFirstIndex(revision -> (toUInt64(generation), kafka_offset) <= revision, revisions) AS part,
           sum(toDecimal256(e.quantity, 12)) AS quantity, count() AS events,
           sum(reinterpretAsUInt256(SHA256(concat(
               concat(reinterpretAsFixedString(toUInt32(length({customer:String}))), {customer:String},
                      reinterpretAsFixedString(toUInt32(length({meter:String}))), {meter:String}),
               reinterpretAsFixedString(toUInt32(length(source))), source, reinterpretAsFixedString(toUInt32(length(event_id))), event_id,
               reinterpretAsFixedString(toUnixTimestamp64Micro(occurred_at)), reinterpretAsFixedString(e.quantity))))) AS hash,
           max(kafka_offset) AS last_offset, any(e.kafka_partition) AS kafka_partition, countIf(type = 'tidemark.amend') AS amended
    FROM
    (
        SELECT kafka_partition, generation, kafka_offset, event_id, source, occurred_at, type,
               quantities[indexOf(meters, {meter:String})] AS quantity,
               window_starts[indexOf(meters, {meter:String})] AS window_start, window_ends[indexOf(meters, {meter:String})] AS window_end
        FROM raw_events FINAL
        INNER JOIN mark_log AS m FINAL USING (kafka_partition, generation)
        WHERE customer = {customer:String} AND has(meters, {meter:String})
          AND occurred_at >= fromUnixTimestamp64Micro({from_s:Int64} * 1000000, 'UTC')
          AND occurred_at < fromUnixTimestamp64Micro({until_s:Int64} * 1000000, 'UTC')
          AND window_start >= toDateTime64({from_s:Int64}, 0, 'UTC') AND window_start < toDateTime64({to_s:Int64}, 0, 'UTC')
          AND kafka_offset < m.next_offset
          AND (kafka_partition, generation, kafka_offset) NOT IN
              (SELECT kafka_partition, generation, kafka_offset FROM verdict_log WHERE customer = {customer:String})
    ) AS e
    LEFT JOIN
    (
        SELECT window_start, window_end, arraySort(groupArray((generation, through_offset))) AS revisions
        FROM window_revisions
        WHERE customer = {customer:String} AND meter = {meter:String}
          AND window_start >= toDateTime64({from_s:Int64}, 0, 'UTC') AND window_start < toDateTime64({to_s:Int64}, 0, 'UTC')
        GROUP BY window_start, window_end
    ) AS r USING (window_start, window_end)
    GROUP BY window_start, window_end, generation, part
) AS p
GROUP BY start_s, end_s, part
ORDER BY start_s, end_s, part
