-- The same with the edges of each posting's window, where marks and verdicts tell what of it is shown.
SELECT generation, kafka_offset, kafka_partition, event_id, source, occurred_at, layout, received_at, log_time, type, meters, quantities,
       window_starts, window_ends
FROM raw_events
PREWHERE customer = {customer:String}
  AND occurred_at >= {from:DateTime64(6, 'UTC')} AND occurred_at < {until:DateTime64(6, 'UTC')}
LIMIT {most:UInt64}
