-- The greatest LogAppendTime of a stretch of a partition's log, in ms; 0 where it holds no record.
SELECT max(toUnixTimestamp64Milli(log_time)) AS now_ms FROM raw_events
WHERE kafka_partition = {partition:UInt32} AND generation = {generation:UInt32} AND kafka_offset >= {start:UInt64} AND kafka_offset < {end:UInt64}
