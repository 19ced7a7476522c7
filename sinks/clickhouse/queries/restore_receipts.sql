-- The last record of each key of usage.receipts, as compaction would have left it, with its bytes; of one part of the keys. `bytes` is empty where
-- it was archived before the archive kept them; of a row that was archived again the one that has them, merged or not.
SELECT toString(kind) AS kind, toString(provider) AS provider, toString(account) AS account, cell, max(log_offset) AS place,
       argMax(record, (log_offset, notEmpty(record))) AS bytes, argMax(toString(state), log_offset) AS newest_state
FROM receipt_log
WHERE log_partition = {partition:UInt32} AND cityHash64(cell) % {parts:UInt32} = {part:UInt32}
GROUP BY kind, provider, account, cell
ORDER BY place
