-- Amendments of one event that act, in the order of the log. Their time is an instant of the event's windows, which are at most a day long.
SELECT value, toUnixTimestamp64Milli(received_at) AS received_at_ms
FROM judged_events
WHERE customer = {customer:String} AND type = 'tidemark.amend' AND verdict = 'control'
  AND occurred_at >= fromUnixTimestamp64Micro({occurred_at_us:Int64} - 86400000000, 'UTC')
  AND occurred_at <= fromUnixTimestamp64Micro({occurred_at_us:Int64} + 86400000000, 'UTC')
  AND JSONExtractInt(value, 'data', 'of', 'generation') = {generation:Int64}
  AND JSONExtractInt(value, 'data', 'of', 'offset') = {offset:Int64}
ORDER BY generation, kafka_offset
