-- What became of every record of the customer in the span's time, counted by the engine: by its own time where that could be read, else by when
-- it was received. `of_meter`: those that select the meter.
SELECT verdict, count() AS records, countIf(has(meters, {meter:String})) AS of_meter
FROM judged_events
WHERE customer = {customer:String}
  AND
  (
      (occurred_at >= fromUnixTimestamp64Micro({from_s:Int64} * 1000000, 'UTC')
       AND occurred_at < fromUnixTimestamp64Micro({to_s:Int64} * 1000000, 'UTC'))
      OR (occurred_at = fromUnixTimestamp64Micro(0, 'UTC') AND received_at >= toDateTime64({from_s:Int64}, 3, 'UTC')
          AND received_at < toDateTime64({to_s:Int64}, 3, 'UTC'))
  )
GROUP BY verdict
ORDER BY verdict
