-- Windows of a partition that were emitted with events which the archive's copy of the log does not have: their newest revision.
SELECT customer, toString(meter) AS meter, toInt64(toUnixTimestamp64Milli(toDateTime64(window_start, 3, 'UTC'))) AS start_ms,
       toInt64(toUnixTimestamp64Milli(toDateTime64(window_end, 3, 'UTC'))) AS end_ms,
       max((generation, through_offset)).1 AS newest_generation, max((generation, through_offset)).2 AS newest_through,
       argMax(quantity, (generation, through_offset)) AS total, argMax(events, (generation, through_offset)) AS counted,
       argMax(hash, (generation, through_offset)) AS content_hash
FROM window_log FINAL
WHERE kafka_partition = {partition:UInt32}
GROUP BY customer, meter, window_start, window_end
HAVING max((generation, through_offset)) >= (toUInt64({generation:UInt32}), {offset:UInt64})
