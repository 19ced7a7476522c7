-- Usage events [first, last) of a month: 10,000 customers of very different size, ids that are random UUIDs, an hour's grid, JSON of about
-- 330 bytes with a quantity and four properties, one of them random. Everything is drawn from the event's number, so a duplicate (one of 67)
-- is the very event of sixteen numbers before, which lies just before it on the same partition.
INSERT INTO raw_events
    (layout, customer, occurred_at, kafka_partition, generation, kafka_offset, log_time, sent_received_at, key_is_null, sent_value,
     value_is_null, kind, event_id, source, type, meters, quantities, window_starts, window_ends, first_seen_inv)
WITH
    number % {partitions:UInt64} AS p,
    if(number % 67 = 33, number - {partitions:UInt64}, number) AS n,
    toInt64({begin_ms:Int64} + intDiv(toInt128(number) * {span_ms:Int64}, {rows:Int64})) AS log_ms,
    (seed) -> cityHash64(n, seed) / 18446744073709551616.0 AS draw,
    {begin_ms:Int64} + intDiv(toInt128(n) * {span_ms:Int64}, {rows:Int64}) - toInt64(20 + 400 * pow(draw(1), 4) + if(draw(2) < 0.003, 7200000 * draw(3), 0)) AS at_ms,
    concat('cus_', leftPad(toString({partitions:UInt64} * toUInt64(10000 / {partitions:UInt64} * pow(draw(4), 3)) + p), 8, '0')) AS who,
    fromUnixTimestamp64Milli(toInt64(at_ms), 'UTC') AS moment,
    toString(reinterpretAsUUID(unhex(concat(leftPad(hex(cityHash64(n, 5)), 16, '0'), leftPad(hex(cityHash64(n, 6)), 16, '0'))))) AS id,
    toUInt32(exp(6.2 + 1.2 * sqrt(-2 * log(1 - draw(7))) * cos(6.283185307 * draw(8)))) AS tokens,
    toStartOfHour(moment) AS hour
SELECT
    1, who, toDateTime64(moment, 6, 'UTC'), p, 0, intDiv(number, {partitions:UInt64}), fromUnixTimestamp64Milli(log_ms, 'UTC') AS appended, appended, 0,
    concat('{"specversion":"1.0","id":"', id, '","source":"/gateway/eu-', toString(1 + p % 3), '","type":"llm.completion","subject":"', who, '","time":"',
        formatDateTime(moment, '%Y-%m-%dT%H:%i:%S', 'UTC'), '.', leftPad(toString(positiveModulo(at_ms, 1000)), 3, '0'),
        'Z","datacontenttype":"application/json","data":{"tokens":', toString(tokens), ',"region":"',
        ['eu-west-1', 'eu-central-1', 'us-east-1', 'us-west-2', 'ap-south-1'][1 + toUInt32(5 * pow(draw(9), 2))], '","model":"',
        ['small', 'medium', 'large', 'xl'][1 + toUInt32(4 * pow(draw(10), 2))], '","endpoint":"/v1/',
        ['chat/completions', 'completions', 'embeddings', 'images/generations', 'audio/transcriptions', 'moderations', 'files', 'batches'][1 + toUInt32(8 * pow(draw(11), 2))],
        '","trace_id":"', lower(leftPad(hex(cityHash64(n, 12)), 16, '0')), '"}}'),
    0, 'usage', id, concat('/gateway/eu-', toString(1 + p % 3)), 'llm.completion', ['tokens'], [toDecimal128(tokens, 12)],
    [toDateTime64(hour, 0, 'UTC')], [toDateTime64(hour + INTERVAL 1 HOUR, 0, 'UTC')],
    bitNot(toUInt64(4611686018432980309 + 600 + cityHash64(intDiv(log_ms, 500)) % 400 - positiveModulo(log_ms, 500)))
FROM numbers({first:UInt64}, {last:UInt64} - {first:UInt64})
