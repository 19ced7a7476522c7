-- The windows of one customer and meter that hold an instant: as emitted, or as the raw events say where nothing was emitted yet.
-- A window is at most a day long, so its events lie within a day of the instant: that keeps the raw look-up to a few granules.
SELECT intDiv(toUnixTimestamp64Milli(window_start), 1000) AS start_s, intDiv(toUnixTimestamp64Milli(window_end), 1000) AS end_s
FROM
(
    SELECT window_start, window_end FROM window_revisions
    WHERE customer = {customer:String} AND meter = {meter:String}
      AND window_start <= toDateTime64({instant_s:Int64}, 0, 'UTC') AND window_end > toDateTime64({instant_s:Int64}, 0, 'UTC')
    UNION ALL
    SELECT window_start, window_end FROM usage_events
    WHERE customer = {customer:String} AND meter = {meter:String} AND verdict = 'counted'
      AND occurred_at >= fromUnixTimestamp64Micro(({instant_s:Int64} - 86400) * 1000000, 'UTC')
      AND occurred_at < fromUnixTimestamp64Micro(({instant_s:Int64} + 86400) * 1000000, 'UTC')
      AND window_start <= toDateTime64({instant_s:Int64}, 0, 'UTC') AND window_end > toDateTime64({instant_s:Int64}, 0, 'UTC')
)
GROUP BY window_start, window_end
ORDER BY window_start
