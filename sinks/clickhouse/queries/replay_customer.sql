-- Of a stretch of a partition's log the records of one customer and all control records, and with each the greatest LogAppendTime up to it within
-- the stretch: the log's now, which every record moves.
SELECT r.kafka_offset, r.log_time_ms, r.customer, r.key_is_null, r.record_value, r.value_is_null, r.header_names, r.header_values, n.now_ms
FROM (SELECT kafka_offset, toUnixTimestamp64Milli(log_time) AS log_time_ms, customer, key_is_null, record_value, value_is_null, header_names, header_values
      FROM raw_events FINAL
      WHERE kafka_partition = {partition:UInt32} AND generation = {generation:UInt32}
        AND kafka_offset >= {start:UInt64} AND kafka_offset < {end:UInt64}
        AND (kind = 'control' OR customer = {customer:String})) AS r
INNER JOIN (SELECT kafka_offset, now_ms
            FROM (SELECT kafka_offset, customer, kind, max(toUnixTimestamp64Milli(log_time)) OVER (ORDER BY kafka_offset) AS now_ms
                  FROM raw_events FINAL
                  WHERE kafka_partition = {partition:UInt32} AND generation = {generation:UInt32}
                    AND kafka_offset >= {start:UInt64} AND kafka_offset < {end:UInt64})
            WHERE kind = 'control' OR customer = {customer:String}) AS n ON n.kafka_offset = r.kafka_offset
ORDER BY r.kafka_offset
