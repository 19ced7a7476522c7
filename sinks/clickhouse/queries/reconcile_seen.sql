-- The newest record of each cell of one customer: whether it is still that one after the provider was read.
SELECT cell, max(log_offset) AS log_offset FROM receipt_log WHERE customer = {customer:String} AND kind = 'cell' GROUP BY cell
