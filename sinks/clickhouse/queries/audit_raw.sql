-- One digest a record of the archive's copy, over everything that came from Kafka: key, value, headers, LogAppendTime. Lengths stand before
-- the parts, so that no two records are written alike; infra/auditing/archive.py computes the same of the record on the log.
SELECT kafka_offset, customer,
       hex(MD5(concat(
           toString(toUInt8(key_is_null)), ' ', toString(length(customer)), ' ', customer,
           toString(toUInt8(value_is_null)), ' ', toString(length(record_value)), ' ', record_value,
           toString(toUnixTimestamp64Milli(log_time)), ' ',
           arrayStringConcat(arrayMap((name, data) -> concat(toString(length(name)), ' ', name, toString(length(ifNull(data, ''))), ' ',
               ifNull(data, '')), header_names, header_values), ''))))
FROM raw_events FINAL
WHERE kafka_partition = {partition:UInt32} AND generation = {generation:UInt32}
  AND kafka_offset >= {start:UInt64} AND kafka_offset < {end:UInt64}
ORDER BY kafka_offset
