-- The receipt as it stood on usage.receipts, whole. The columns say what people ask for; this says what the delivery goes on from (what stands,
-- what may stand, an adjustment, the scale), so that `tidemark reconcile` and a restore need ClickHouse alone once Kafka is gone. Empty in rows
-- that were archived before this column was there.
ALTER TABLE receipt_log
    ADD COLUMN IF NOT EXISTS record String CODEC(ZSTD(3)) COMMENT 'the receipt''s record as it was written, JSON; empty in rows of older programs' AFTER window_quantities;
