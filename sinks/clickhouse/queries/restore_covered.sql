-- Of each window of a partition that ends in a span the greatest revision that an archived receipt holds, whatever became of it.
SELECT customer, toString(meter) AS meter, toInt64(toUnixTimestamp64Milli(toDateTime64(part.1, 3, 'UTC'))) AS start_ms,
       toInt64(toUnixTimestamp64Milli(toDateTime64(part.2, 3, 'UTC'))) AS end_ms,
       max((part.3, part.4)).1 AS newest_generation, max((part.3, part.4)).2 AS newest_through
FROM receipt_log
ARRAY JOIN arrayZip(window_starts, window_ends, generations, through_offsets) AS part
WHERE log_partition = {partition:UInt32}
  AND toUnixTimestamp64Milli(toDateTime64(part.2, 3, 'UTC')) >= {from_ms:Int64}
  AND toUnixTimestamp64Milli(toDateTime64(part.2, 3, 'UTC')) <= {to_ms:Int64}
GROUP BY customer, meter, part.1, part.2
