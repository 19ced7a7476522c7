-- What of this customer was refused in the window's time: by its own time where that could be read, else by when it was received.
SELECT generation, kafka_offset, kafka_partition, event_id, verdict, reason, sentence,
       toUnixTimestamp64Micro(occurred_at) AS occurred_at_us, toUnixTimestamp64Milli(received_at) AS received_at_ms
FROM judged_events
WHERE customer = {customer:String} AND verdict IN ('rejected', 'too_late')
  AND
  (
      (occurred_at >= fromUnixTimestamp64Micro({start_s:Int64} * 1000000, 'UTC')
       AND occurred_at < fromUnixTimestamp64Micro({end_s:Int64} * 1000000, 'UTC'))
      OR (occurred_at = fromUnixTimestamp64Micro(0, 'UTC') AND received_at >= toDateTime64({start_s:Int64}, 3, 'UTC')
          AND received_at < toDateTime64({end_s:Int64}, 3, 'UTC'))
  )
ORDER BY generation, kafka_offset
LIMIT {limit:UInt64}
