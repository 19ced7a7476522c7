-- The verdicts of the duplicates of fill_raw.sql: the rows that are not counted.
INSERT INTO verdict_log (customer, kafka_partition, generation, kafka_offset, verdict, reason, sentence, subject, source, event_id, home, log_partition, log_offset)
SELECT customer, kafka_partition, 0, kafka_offset, 'duplicate', '', concat('the same source and id were counted at offset ', toString(kafka_offset - 1)),
       customer, source, event_id, -1, kafka_partition, intDiv(kafka_offset, 60)
FROM raw_events
WHERE (kafka_offset * {partitions:UInt64} + kafka_partition) % 67 = 33 AND kafka_offset * {partitions:UInt64} + kafka_partition >= {partitions:UInt64}
