-- What a meter counted and since when, as put in force on one partition, in the order of the log.
SELECT body FROM definition_log FINAL
WHERE kind = 'meter' AND id = {meter:String} AND log_partition = {partition:UInt32}
ORDER BY log_offset
