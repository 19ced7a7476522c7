-- When the newest archived record of each partition came.
SELECT kafka_partition, toUnixTimestamp64Milli(max(log_time)) AS newest_ms FROM raw_events GROUP BY kafka_partition
