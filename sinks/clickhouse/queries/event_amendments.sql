-- Amendments of one event that act, in the order of the log: they lie at the event's own customer and time.
SELECT value, toUnixTimestamp64Milli(received_at) AS received_at_ms
FROM judged_events
WHERE customer = {customer:String} AND type = 'tidemark.amend' AND verdict = 'control'
  AND occurred_at = fromUnixTimestamp64Micro({occurred_at_us:Int64}, 'UTC')
  AND JSONExtractInt(value, 'data', 'of', 'generation') = {generation:Int64}
  AND JSONExtractInt(value, 'data', 'of', 'offset') = {offset:Int64}
ORDER BY generation, kafka_offset
