-- Records of the customer in a window's time and, beside them, the customer's first verdicts, as both lie in the parts and in no order: without
-- FINAL, joins and marks, which `window_rows.py` sees to for few rows. Its decoder names these columns one by one, and picks the meter's
-- posting: cheaper there than planned here. A row of the second half has a verdict, which is never empty; one of the first has none.
SELECT generation, kafka_offset, kafka_partition, event_id, source, occurred_at, record_received_at, meters, quantities, window_starts, window_ends,
       type, '' AS verdict
FROM raw_events
PREWHERE customer = {customer:String}
  AND occurred_at >= fromUnixTimestamp64Micro({from_s:Int64} * 1000000, 'UTC')
  AND occurred_at < fromUnixTimestamp64Micro({until_s:Int64} * 1000000, 'UTC')
LIMIT {most:UInt64}
UNION ALL
SELECT generation, kafka_offset, kafka_partition, '', '', toDateTime64(0, 6, 'UTC'), toDateTime64(0, 3, 'UTC'), [], [], [], [], '', verdict
FROM verdict_log
PREWHERE customer = {customer:String}
LIMIT {few:UInt64}
