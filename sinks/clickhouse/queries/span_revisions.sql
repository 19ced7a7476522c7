-- Every revision of the windows that start in [from_s, to_s), as emitted, oldest first.
SELECT intDiv(toUnixTimestamp64Milli(toDateTime64(window_start, 3)), 1000) AS start_s,
       intDiv(toUnixTimestamp64Milli(toDateTime64(window_end, 3)), 1000) AS end_s,
       generation, through_offset, first_offset, quantity, events, hash, toUnixTimestamp64Milli(closed_at) AS closed_at_ms
FROM window_revisions
WHERE customer = {customer:String} AND meter = {meter:String}
  AND window_start >= toDateTime64({from_s:Int64}, 0, 'UTC') AND window_start < toDateTime64({to_s:Int64}, 0, 'UTC')
ORDER BY start_s, end_s, generation, through_offset
