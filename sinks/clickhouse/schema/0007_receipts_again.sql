-- Rows of receipt_log that were archived before they kept the receipt's record get it now: usage.receipts is compacted and kept for ever, so the
-- archive reads it once more from its beginning, and a row that is written again under the same offset takes the place of the one before.
-- `tidemark restore` needs every cell's last record. Idempotent: forgetting once more costs reading once more.
ALTER TABLE progress DELETE WHERE topic = 'usage.receipts' SETTINGS mutations_sync = 1;
