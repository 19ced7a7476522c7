-- The newest revision of every window of some customers, as the meter would have emitted it: the recount itself, so nothing differs.
INSERT INTO window_log (customer, meter, window_start, window_end, generation, through_offset, kafka_partition, quantity, events, first_offset, hash, closed_at, log_partition, log_offset)
SELECT customer, meter, window_start, window_end, generation, through_offset, kafka_partition, quantity, events, first_offset, hash,
       window_end + INTERVAL 5 MINUTE, kafka_partition, rowNumberInAllBlocks()
FROM window_recount
WHERE customer >= {low:String} AND customer < {high:String}
