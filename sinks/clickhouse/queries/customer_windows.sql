-- Which meters of a customer have windows that start in [from_s, to_s): emitted ones, or counted events where nothing was emitted yet.
SELECT meter FROM window_revisions
WHERE customer = {customer:String}
  AND window_start >= toDateTime64({from_s:Int64}, 0, 'UTC') AND window_start < toDateTime64({to_s:Int64}, 0, 'UTC')
UNION DISTINCT
SELECT meter FROM usage_events
WHERE customer = {customer:String} AND verdict = 'counted'
  AND occurred_at >= fromUnixTimestamp64Micro({from_s:Int64} * 1000000, 'UTC')
  AND occurred_at < fromUnixTimestamp64Micro({to_s:Int64} * 1000000, 'UTC')
