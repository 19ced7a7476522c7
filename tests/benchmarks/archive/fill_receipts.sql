-- Each window was delivered once, and the provider said yes.
INSERT INTO receipt_log (customer, meter, provider, account, cell, kind, revision, generation, attempt, state, item, subscription, reported_time,
    period_start, period_end, quantity, units, idempotency_key, path, body, outcome, http_status, request_id, reason, sentence, intent_at,
    reported_at, closed_at, window_starts, window_ends, generations, through_offsets, window_quantities, log_partition, log_offset)
SELECT customer, toString(meter), 'stripe', 'default', concat('si_', customer, '/', toString(toUnixTimestamp(window_start))), 'cell', 1, 0, 1, 'delivered',
    concat('si_', customer), concat('sub_', customer), window_start, toDateTime64(toStartOfMonth(window_start), 0, 'UTC'),
    toDateTime64(toStartOfMonth(window_start) + INTERVAL 1 MONTH, 0, 'UTC'), quantity, toString(toInt128(quantity)),
    concat('tm1_', lower(hex(MD5(concat(customer, toString(window_start)))))), '/v1/subscription_items/si/usage_records',
    concat('quantity=', toString(toInt128(quantity)), '&timestamp=', toString(toUnixTimestamp(window_start)), '&action=set'), 'delivered', 200,
    concat('req_', substring(lower(hex(SHA256(concat(customer, toString(window_start))))), 1, 14)), '', '', closed_at, closed_at + INTERVAL 1 SECOND, closed_at,
    [window_start], [window_end], [generation], [through_offset], [quantity], log_partition, log_offset
FROM window_log FINAL
