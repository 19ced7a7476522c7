-- A page of the counted events behind windows that start in [from_s, to_s), with their own bytes, in the order of the log: after (generation_from,
-- offset_from), up to and with (generation_to, offset_to).
SELECT generation, kafka_partition AS partition, kafka_offset AS offset, source, event_id AS id, toUnixTimestamp64Micro(occurred_at) AS time_us,
       toString(quantities[indexOf(meters, {meter:String})]) AS quantity,
       intDiv(toUnixTimestamp64Milli(toDateTime64(window_starts[indexOf(meters, {meter:String})], 3)), 1000) AS start,
       intDiv(toUnixTimestamp64Milli(toDateTime64(window_ends[indexOf(meters, {meter:String})], 3)), 1000) AS end, value AS body
FROM judged_events
WHERE customer = {customer:String} AND verdict IN ('counted', 'control') AND has(meters, {meter:String})
  AND occurred_at >= fromUnixTimestamp64Micro({from_s:Int64} * 1000000, 'UTC')
  AND occurred_at < fromUnixTimestamp64Micro({until_s:Int64} * 1000000, 'UTC')
  AND window_starts[indexOf(meters, {meter:String})] >= toDateTime64({from_s:Int64}, 0, 'UTC')
  AND window_starts[indexOf(meters, {meter:String})] < toDateTime64({to_s:Int64}, 0, 'UTC')
  AND (generation > {generation_from:UInt32} OR (generation = {generation_from:UInt32} AND kafka_offset >= {offset_from:UInt64}))
  AND (generation < {generation_to:UInt32} OR (generation = {generation_to:UInt32} AND kafka_offset < {offset_to:UInt64}))
ORDER BY generation, offset
