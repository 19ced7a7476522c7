-- The log as the archive copied it, in its order: what is counted again where retention has removed it from Kafka.
SELECT kafka_offset, toUnixTimestamp64Milli(log_time) AS log_time_ms, customer, key_is_null, record_value, value_is_null, header_names, header_values
FROM raw_events FINAL
WHERE kafka_partition = {partition:UInt32} AND generation = {generation:UInt32}
  AND kafka_offset >= {start:UInt64} AND kafka_offset < {end:UInt64}
ORDER BY kafka_offset
