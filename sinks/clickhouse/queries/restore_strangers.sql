-- Rows that stand beside the log's: at a coordinate of the customer's under another key or hour, or of the customer where the log has none of it.
-- Rows of a greater version are those of somebody who restores the same rows at the same time: they are as true.
ALTER TABLE raw_events DELETE
WHERE kafka_partition = {partition:UInt32} AND generation = {generation:UInt32} AND kafka_offset BETWEEN {first:UInt64} AND {last:UInt64}
  AND first_seen_inv < {version:UInt64}
  AND (({of_customer:Bool} AND customer = {customer:String}) OR has({offsets:Array(UInt64)}, kafka_offset))
SETTINGS mutations_sync = 1
