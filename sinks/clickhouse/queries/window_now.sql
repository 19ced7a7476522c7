-- What the raw events of the window sum up to now, whether a revision covers them or not.
SELECT sum(toDecimal256(quantity, 12)) AS quantity, count() AS events, any(kafka_partition) AS kafka_partition
FROM usage_events
WHERE customer = {customer:String} AND meter = {meter:String} AND verdict = 'counted'
  AND occurred_at >= fromUnixTimestamp64Micro({start_s:Int64} * 1000000, 'UTC')
  AND occurred_at < fromUnixTimestamp64Micro({end_s:Int64} * 1000000, 'UTC')
  AND window_start = toDateTime64({start_s:Int64}, 0, 'UTC')
