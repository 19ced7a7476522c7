-- Records of one event id, or the record at one coordinate, with verdict and postings.
SELECT generation, kafka_partition, kafka_offset, customer, event_id, source, type, toUnixTimestamp64Micro(occurred_at) AS occurred_at_us,
       toUnixTimestamp64Milli(received_at) AS received_at_ms, verdict, sentence, meters, quantities,
       arrayMap(s -> toInt64(toUnixTimestamp64Milli(toDateTime64(s, 3, 'UTC'))), window_starts) AS starts_ms,
       arrayMap(e -> toInt64(toUnixTimestamp64Milli(toDateTime64(e, 3, 'UTC'))), window_ends) AS ends_ms
FROM judged_events
WHERE ({event_id:String} = '' OR event_id = {event_id:String})
  AND ({partition:Int64} < 0 OR (kafka_partition = {partition:Int64} AND kafka_offset = {offset:UInt64}))
  AND ({customer:String} = '' OR customer = {customer:String})
  AND ({source:String} = '' OR source = {source:String})
ORDER BY generation, kafka_partition, kafka_offset
LIMIT {limit:UInt64}
