-- The newest revision of each window, as analysts see it.
SELECT customer, meter, toInt64(toUnixTimestamp64Milli(toDateTime64(window_start, 3, 'UTC'))) AS start_ms,
       toInt64(toUnixTimestamp64Milli(toDateTime64(window_end, 3, 'UTC'))) AS end_ms, generation, through_offset, quantity, events, first_offset,
       hash
FROM window_totals
WHERE kafka_partition = {partition:UInt32}
