-- What was put in force, by partition and in its order; of timings also when the log said it (0 where that record is not in the archive).
SELECT d.log_partition AS log_partition, d.body AS body, toUnixTimestamp64Milli(e.log_time) AS said_ms
FROM definition_log AS d FINAL
LEFT ANY JOIN (SELECT kafka_partition, kafka_offset, log_time FROM raw_events
               WHERE kind = 'control' AND kafka_offset IN (SELECT control_offset FROM definition_log WHERE kind = 'timing')) AS e
    ON e.kafka_partition = d.log_partition AND e.kafka_offset = d.control_offset
ORDER BY d.log_partition, d.log_offset
