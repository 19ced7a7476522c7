-- Letters of a selection whose own record is no longer in raw_events: months are dropped oldest first, so what came after it may be gone
-- as well, and whether it was sent again cannot be told. Nobody replays those.
SELECT l.kafka_partition AS kafka_partition, l.kafka_offset AS kafka_offset, l.received_ms AS received_ms
FROM
(
    SELECT customer, kafka_partition, kafka_offset, toUnixTimestamp64Milli(received_at) AS received_ms
    FROM rejected_events
    WHERE ({reason:String} = '' OR reason = {reason:String})
      AND ({customer:String} = '' OR customer = {customer:String} OR subject = {customer:String})
      AND ({source:String} = '' OR source = {source:String})
      AND (empty({names:Array(String)}) OR has({names:Array(String)}, concat(toString(kafka_partition), ':', toString(kafka_offset))))
) AS l
LEFT ANTI JOIN
(
    SELECT customer, kafka_partition, kafka_offset, toUnixTimestamp64Milli(record_received_at) AS received_ms
    FROM raw_events
    WHERE (customer, kafka_offset) IN (SELECT customer, kafka_offset FROM rejected_log)
) AS e
    ON e.customer = l.customer AND e.kafka_partition = l.kafka_partition AND e.kafka_offset = l.kafka_offset AND e.received_ms = l.received_ms
