-- Every revision that was archived from one partition of usage.windows, and where it stands there.
SELECT customer, toString(meter) AS meter, toInt64(toUnixTimestamp64Milli(toDateTime64(window_start, 3, 'UTC'))) AS start_ms,
       toInt64(toUnixTimestamp64Milli(toDateTime64(window_end, 3, 'UTC'))) AS end_ms, generation, through_offset, quantity, events, first_offset,
       hash, log_offset
FROM window_log FINAL
WHERE log_partition = {partition:UInt32}
