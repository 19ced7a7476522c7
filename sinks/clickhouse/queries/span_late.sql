-- Counted events that came after their window was first emitted, in the order of the log, of windows that are known to have some: their hours
-- (UTC, in seconds) are the sort key itself, so that nothing else is read.
SELECT e.generation, e.kafka_offset, e.kafka_partition, e.event_id, e.source, toUnixTimestamp64Micro(e.occurred_at) AS occurred_at_us,
       toUnixTimestamp64Milli(e.received_at) AS received_at_ms, e.verdict, e.quantity,
       intDiv(toUnixTimestamp64Milli(toDateTime64(e.window_start, 3)), 1000) AS start_s, e.type
FROM
(
    SELECT * FROM usage_events
    WHERE customer = {customer:String} AND meter = {meter:String} AND verdict = 'counted'
      AND toStartOfHour(occurred_at) IN (SELECT toStartOfHour(fromUnixTimestamp64Micro(arrayJoin({hours:Array(Int64)}) * 1000000, 'UTC')))
      AND toUnixTimestamp(toDateTime(window_start)) IN {starts:Array(Int64)}
) AS e
INNER JOIN
(
    SELECT window_start, window_end, min((generation, through_offset)) AS closed
    FROM window_revisions
    WHERE customer = {customer:String} AND meter = {meter:String}
      AND window_start >= toDateTime64({from_s:Int64}, 0, 'UTC') AND window_start < toDateTime64({to_s:Int64}, 0, 'UTC')
    GROUP BY window_start, window_end
) AS r ON r.window_start = e.window_start AND r.window_end = e.window_end
WHERE (toUInt64(e.generation), e.kafka_offset) > r.closed
ORDER BY e.generation, e.kafka_offset
LIMIT {limit:UInt64}
