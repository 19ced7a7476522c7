-- Dead letters of a selection, the oldest first, from behind the last one of the page before.
SELECT kafka_partition, kafka_offset, toUnixTimestamp64Milli(received_at) AS received_ms, toUnixTimestamp64Milli(rejected_at) AS rejected_ms,
       reason, sentence, key_is_null, customer, value_is_null, value, header_names, header_values, subject, source, event_id, type
FROM rejected_events
WHERE ({reason:String} = '' OR reason = {reason:String})
  AND ({customer:String} = '' OR customer = {customer:String} OR subject = {customer:String})
  AND ({source:String} = '' OR source = {source:String})
  AND (empty({names:Array(String)}) OR has({names:Array(String)}, concat(toString(kafka_partition), ':', toString(kafka_offset))))
  AND (received_ms, kafka_partition, kafka_offset) > ({after_ms:Int64}, {after_partition:Int64}, {after_offset:Int64})
ORDER BY received_ms, kafka_partition, kafka_offset
LIMIT {limit:UInt32}
