-- Every attempt to deliver a window that starts in [from_s, to_s), oldest first, and where it was parked whole.
SELECT intDiv(toUnixTimestamp64Milli(toDateTime64(window_start, 3)), 1000) AS start_s,
       intDiv(toUnixTimestamp64Milli(toDateTime64(window_end, 3)), 1000) AS end_s,
       kind, provider, account, cell, revision, attempt, generation, through_offset, window_quantity, quantity, units, state, outcome,
       http_status, request_id, idempotency_key, reason, sentence, toUnixTimestamp64Milli(intent_at) AS intent_at_ms,
       toUnixTimestamp64Milli(reported_at) AS reported_at_ms, item,
       intDiv(toUnixTimestamp64Milli(toDateTime64(reported_time, 3)), 1000) AS second_s, log_offset
FROM deliveries
WHERE customer = {customer:String} AND meter = {meter:String}
  AND window_start >= toDateTime64({from_s:Int64}, 0, 'UTC') AND window_start < toDateTime64({to_s:Int64}, 0, 'UTC')
ORDER BY start_s, end_s, log_offset
