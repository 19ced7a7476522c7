-- What a window is made of, asked by its key alone: SELECT * FROM window_events(customer = 'acme', meter = 'api_calls',
-- start = '2026-11-03 10:00:00'). The rows of usage_events that count in it, amendments among them, for a fifth less work: most of what a look
-- at one window costs is planning. So there is no join: the marks are one small value and the verdicts are a set.
--
-- A counted record lies below the mark, has no row in verdict_log and a posting in the window. Its occurred_at lies in the window, which is
-- never longer than a day (law 8): that bounds the hours that are read.
CREATE VIEW IF NOT EXISTS window_events AS
WITH (SELECT maxMap(map(bitShiftLeft(toUInt64(kafka_partition), 32) + generation, next_offset)) FROM mark_log) AS marks
SELECT event_id, source, quantities[indexOf(meters, {meter:String})] AS quantity, occurred_at, record_received_at AS received_at,
       kafka_partition, generation, kafka_offset, type, window_ends[indexOf(meters, {meter:String})] AS window_end
FROM raw_events FINAL
WHERE customer = {customer:String} AND occurred_at >= {start:DateTime64(0, 'UTC')}
  AND toStartOfHour(occurred_at) >= toStartOfHour({start:DateTime64(0, 'UTC')})
  AND toStartOfHour(occurred_at) < {start:DateTime64(0, 'UTC')} + toIntervalDay(1)
  AND window_starts[indexOf(meters, {meter:String})] = {start:DateTime64(0, 'UTC')}
  AND kafka_offset < marks[bitShiftLeft(toUInt64(kafka_partition), 32) + generation]
  AND (kafka_partition, generation, kafka_offset) NOT IN
      (SELECT kafka_partition, generation, kafka_offset FROM verdict_log WHERE customer = {customer:String})
ORDER BY generation, kafka_offset;

ALTER TABLE window_events
    MODIFY COMMENT 'The events behind one window, in the order of the log: window_events(customer = …, meter = …, start = …). Each posting that counts in it, amendments among them; quantity adds up to the total';
