-- Where pages of so many events end, in the order of the log: every `size`-th event of the span, and the last.
SELECT generation, kafka_offset
FROM
(
    SELECT generation, kafka_offset, row_number() OVER (ORDER BY generation, kafka_offset) AS number, count() OVER () AS last
    FROM usage_events
    WHERE customer = {customer:String} AND meter = {meter:String} AND verdict = 'counted'
      AND occurred_at >= fromUnixTimestamp64Micro({from_s:Int64} * 1000000, 'UTC')
      AND occurred_at < fromUnixTimestamp64Micro({until_s:Int64} * 1000000, 'UTC')
      AND window_start >= toDateTime64({from_s:Int64}, 0, 'UTC') AND window_start < toDateTime64({to_s:Int64}, 0, 'UTC')
)
WHERE modulo(number, {size:UInt32}) = 0 OR number = last
ORDER BY generation, kafka_offset
