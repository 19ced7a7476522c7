-- The newest revision of each window of a partition that ends in a span, of one customer and meter or of all.
SELECT customer, toString(meter) AS meter, toInt64(toUnixTimestamp64Milli(toDateTime64(window_start, 3, 'UTC'))) AS start_ms,
       toInt64(toUnixTimestamp64Milli(toDateTime64(window_end, 3, 'UTC'))) AS end_ms,
       max((generation, through_offset)).1 AS newest_generation, max((generation, through_offset)).2 AS newest_through,
       argMax(quantity, (generation, through_offset)) AS total, argMax(events, (generation, through_offset)) AS counted,
       argMax(hash, (generation, through_offset)) AS content_hash
FROM window_log FINAL
WHERE kafka_partition = {partition:UInt32}
  AND toUnixTimestamp64Milli(toDateTime64(window_end, 3, 'UTC')) >= {from_ms:Int64}
  AND toUnixTimestamp64Milli(toDateTime64(window_end, 3, 'UTC')) <= {to_ms:Int64}
  AND ({customer:String} = '' OR customer = {customer:String}) AND ({meter:String} = '' OR meter = {meter:String})
GROUP BY customer, meter, window_start, window_end
