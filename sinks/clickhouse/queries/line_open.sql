-- Windows of the line's period that the provider does not hold as they are now counted: they are not on the line, or not whole.
SELECT intDiv(toUnixTimestamp64Milli(toDateTime64(window_start, 3)), 1000), intDiv(toUnixTimestamp64Milli(toDateTime64(window_end, 3)), 1000), state, reason, counted, delivered
FROM coverage
WHERE customer = {customer:String} AND meter = {meter:String} AND counted != delivered
  AND window_start >= toDateTime64({start_s:Int64}, 0, 'UTC') AND window_start < toDateTime64({end_s:Int64}, 0, 'UTC')
ORDER BY window_start
