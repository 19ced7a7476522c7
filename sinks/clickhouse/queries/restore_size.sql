-- How many receipts were archived of a partition, and the newest generation that any total or receipt of it names.
SELECT (SELECT count() FROM receipt_log WHERE log_partition = {partition:UInt32}) AS receipts,
       greatest((SELECT max(generation) FROM window_log WHERE kafka_partition = {partition:UInt32}),
                (SELECT max(arrayMax(generations)) FROM receipt_log WHERE log_partition = {partition:UInt32} AND notEmpty(generations))) AS generation
