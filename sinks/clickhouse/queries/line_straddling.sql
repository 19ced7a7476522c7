-- Windows that begin before a line's period, by less than a day, and are billed in it: they were whole when the period's edge was learned.
SELECT DISTINCT intDiv(toUnixTimestamp64Milli(toDateTime64(window_start, 3)), 1000) AS start_s,
       intDiv(toUnixTimestamp64Milli(toDateTime64(window_end, 3)), 1000) AS end_s
FROM deliveries
WHERE customer = {customer:String} AND meter = {meter:String} AND item = {item:String} AND state IN ('delivered', 'confirmed')
  AND window_start >= toDateTime64({from_s:Int64}, 0, 'UTC') AND window_start < toDateTime64({start_s:Int64}, 0, 'UTC')
  AND reported_time >= toDateTime64({start_s:Int64}, 0, 'UTC') AND reported_time < toDateTime64({end_s:Int64}, 0, 'UTC')
