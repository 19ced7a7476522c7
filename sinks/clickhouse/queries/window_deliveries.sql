-- Every attempt to deliver the window, oldest first, and where it was parked whole.
SELECT kind, provider, account, cell, revision, attempt, generation, through_offset, window_quantity, quantity, units, state, outcome,
       http_status, request_id, idempotency_key, reason, sentence, toUnixTimestamp64Milli(intent_at) AS intent_at_ms,
       toUnixTimestamp64Milli(reported_at) AS reported_at_ms
FROM deliveries
WHERE customer = {customer:String} AND meter = {meter:String}
  AND window_start = toDateTime64({start_s:Int64}, 0, 'UTC') AND window_end = toDateTime64({end_s:Int64}, 0, 'UTC')
ORDER BY log_offset
