-- What persons said of events of the span and acts, as the log has it: the whole record, in which kind, reason and the event it speaks of are.
-- One that accepts an event as it is posts to no meter, and is listed at the event's own time.
SELECT generation, kafka_offset, kafka_partition, event_id, toUnixTimestamp64Micro(occurred_at) AS occurred_at_us,
       toUnixTimestamp64Milli(received_at) AS received_at_ms,
       if(empty(meters), toDecimal128(0, 12), quantities[indexOf(meters, {meter:String})]) AS quantity,
       if(empty(meters), 0, intDiv(toUnixTimestamp64Milli(toDateTime64(window_starts[indexOf(meters, {meter:String})], 3)), 1000)) AS start_s, value
FROM judged_events
WHERE customer = {customer:String} AND type = 'tidemark.amend' AND verdict = 'control'
  AND occurred_at >= fromUnixTimestamp64Micro({from_s:Int64} * 1000000, 'UTC')
  AND occurred_at < fromUnixTimestamp64Micro({until_s:Int64} * 1000000, 'UTC')
  AND
  (
      (empty(meters) AND occurred_at < fromUnixTimestamp64Micro({to_s:Int64} * 1000000, 'UTC'))
      OR
      (has(meters, {meter:String})
       AND window_starts[indexOf(meters, {meter:String})] >= toDateTime64({from_s:Int64}, 0, 'UTC')
       AND window_starts[indexOf(meters, {meter:String})] < toDateTime64({to_s:Int64}, 0, 'UTC'))
  )
ORDER BY generation, kafka_offset
