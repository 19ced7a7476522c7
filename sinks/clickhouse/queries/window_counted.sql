-- Records of the customer in a window's time, as they lie in the parts and in no order, where their hash will tell whether they are the window's
-- (`window_rows.py`): without FINAL, joins, marks and edges of windows, for each column more costs the engine up to a millisecond. The decoder names
-- these columns one by one, and makes the time of a record's arrival of `layout` and what follows it, as the column record_received_at does: three
-- columns are read sooner than an expression of them is planned.
SELECT generation, kafka_offset, kafka_partition, event_id, source, occurred_at, layout, received_at, log_time, type, meters, quantities
FROM raw_events
PREWHERE customer = {customer:String}
  AND occurred_at >= {from:DateTime64(6, 'UTC')} AND occurred_at < {until:DateTime64(6, 'UTC')}
LIMIT {most:UInt64}
