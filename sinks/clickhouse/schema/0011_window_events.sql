-- window_events of 0010 with less to plan (decision 0007): the same rows. Three things, each measured in CPU of the engine:
--  * The marks are joined. One value of them all, asked by two computed numbers, cost twice as much. Read FINAL, mark_log has one row a log: no row is shown twice.
--  * The key is asked in PREWHERE: left to the engine, it looks for that itself. Rows of one coordinate agree in it (they are one record), so it does not matter
--    that this is asked before FINAL has chosen among them.
--  * occurred_at alone: that it bounds the hours of the sort key is known to the engine.
-- Order matters for law 19: the marks are named before the verdicts, so they are read first. A verdict is stored before the mark that passes it.
CREATE OR REPLACE VIEW window_events AS
SELECT event_id, source, quantities[indexOf(meters, {meter:String})] AS quantity, occurred_at, record_received_at AS received_at,
       kafka_partition, generation, kafka_offset, type, window_ends[indexOf(meters, {meter:String})] AS window_end
FROM raw_events AS e FINAL
INNER JOIN mark_log AS m FINAL USING (kafka_partition, generation)
PREWHERE customer = {customer:String} AND occurred_at >= {start:DateTime64(0, 'UTC')}
  AND occurred_at < {start:DateTime64(0, 'UTC')} + toIntervalDay(1)
WHERE window_starts[indexOf(meters, {meter:String})] = {start:DateTime64(0, 'UTC')} AND kafka_offset < m.next_offset
  AND (kafka_partition, generation, kafka_offset) NOT IN
      (SELECT kafka_partition, generation, kafka_offset FROM verdict_log WHERE customer = {customer:String})
ORDER BY generation, kafka_offset;

ALTER TABLE window_events
    MODIFY COMMENT 'The events behind one window, in the order of the log: window_events(customer = …, meter = …, start = …). Each posting that counts in it, amendments among them; quantity adds up to the total';
