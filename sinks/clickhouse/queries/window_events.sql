-- Every event that selects the meter in the window, counted or not, in the order of the log; amendments that act among them, as counted.
SELECT generation, kafka_offset, kafka_partition, event_id, source, toUnixTimestamp64Micro(occurred_at) AS occurred_at_us,
       toUnixTimestamp64Milli(received_at) AS received_at_ms, if(verdict = 'control', 'counted', verdict) AS fate,
       quantities[indexOf(meters, {meter:String})] AS quantity,
       intDiv(toUnixTimestamp64Milli(toDateTime64(window_starts[indexOf(meters, {meter:String})], 3)), 1000) AS start_s, type
FROM judged_events
WHERE customer = {customer:String} AND verdict IN ('counted', 'duplicate', 'control')
  AND occurred_at >= fromUnixTimestamp64Micro({from_s:Int64} * 1000000, 'UTC')
  AND occurred_at < fromUnixTimestamp64Micro({until_s:Int64} * 1000000, 'UTC')
  AND has(meters, {meter:String}) AND window_starts[indexOf(meters, {meter:String})] = toDateTime64({from_s:Int64}, 0, 'UTC')
  AND window_ends[indexOf(meters, {meter:String})] = toDateTime64({until_s:Int64}, 0, 'UTC')
ORDER BY generation, kafka_offset
LIMIT {limit:UInt64}
