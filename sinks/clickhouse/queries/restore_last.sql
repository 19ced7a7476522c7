-- When the newest archived record of a partition was appended to the log, in ms; 0 where there is none.
SELECT max(toUnixTimestamp64Milli(log_time)) AS last_ms FROM raw_events WHERE kafka_partition = {partition:UInt32} AND generation = {generation:UInt32}
