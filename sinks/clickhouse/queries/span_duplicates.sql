-- Copies in the span that were not counted again, in the order of the log. Few rows of the verdicts name them, so that the raw rows are read by
-- their coordinates, and not joined one by one.
SELECT generation, kafka_offset, kafka_partition, event_id, source, toUnixTimestamp64Micro(occurred_at) AS occurred_at_us,
       toUnixTimestamp64Milli(record_received_at) AS received_at_ms, 'duplicate' AS verdict, quantities[indexOf(meters, {meter:String})] AS quantity,
       intDiv(toUnixTimestamp64Milli(toDateTime64(window_starts[indexOf(meters, {meter:String})], 3)), 1000) AS start_s, type
FROM raw_events FINAL
WHERE customer = {customer:String}
  AND occurred_at >= fromUnixTimestamp64Micro({from_s:Int64} * 1000000, 'UTC')
  AND occurred_at < fromUnixTimestamp64Micro({until_s:Int64} * 1000000, 'UTC')
  AND (kafka_partition, generation, kafka_offset) IN
  (
      SELECT v.kafka_partition, v.generation, v.kafka_offset
      FROM verdict_log AS v FINAL
      INNER JOIN (SELECT kafka_partition, generation, max(next_offset) AS next_offset FROM mark_log GROUP BY kafka_partition, generation) AS m
          ON m.kafka_partition = v.kafka_partition AND m.generation = v.generation
      WHERE v.customer = {customer:String} AND v.verdict = 'duplicate' AND v.kafka_offset < m.next_offset
  )
  AND has(meters, {meter:String})
  AND window_starts[indexOf(meters, {meter:String})] >= toDateTime64({from_s:Int64}, 0, 'UTC')
  AND window_starts[indexOf(meters, {meter:String})] < toDateTime64({to_s:Int64}, 0, 'UTC')
ORDER BY generation, kafka_offset
LIMIT {limit:UInt64}
