-- Where a window's events lie: by generation, from the first event of its first revision to the last of its newest one.
SELECT generation, min(first_offset), max(through_offset)
FROM window_log FINAL
WHERE customer = {customer:String} AND meter = {meter:String} AND window_start = toDateTime64({start:Int64}, 0, 'UTC')
  AND window_end = toDateTime64({end:Int64}, 0, 'UTC')
GROUP BY generation
ORDER BY generation
