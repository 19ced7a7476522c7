-- record_value and record_received_at of 0008 with less to plan: the engine resolves them for whatever is asked of raw_events, also where nobody asks
-- for them, and of a small question that was a tenth. What they say is the same, byte for byte; nothing stored is touched.
--  * An occurred_at of this type has six digits behind its point, always: the other two spellings are the beginning of that one.
--  * A number tells the millisecond before 1970 from others; a time made of a text is worked out for each question.
ALTER TABLE raw_events MODIFY COLUMN record_value String ALIAS
    if(layout AND startsWith(value, '\x01'),
        replaceOne(replaceOne(replaceOne(replaceOne(substring(value, 2),
            '\x02', left(formatDateTime(occurred_at, '%Y-%m-%dT%H:%i:%S.%f'), 19)),
            '\x03', left(formatDateTime(occurred_at, '%Y-%m-%dT%H:%i:%S.%f'), 23)),
            '\x06', formatDateTime(occurred_at, '%Y-%m-%dT%H:%i:%S.%f')),
            '"\x01"', concat('"', event_id, '"')),
        substring(value, 1 + layout))
    COMMENT 'the record''s value, byte for byte';
ALTER TABLE raw_events MODIFY COLUMN record_received_at DateTime64(3, 'UTC') ALIAS
    if(layout = 1 AND toUnixTimestamp64Milli(received_at) = -1, log_time, received_at)
    COMMENT 'LogAppendTime of the record''s first arrival, before it was re-routed or replayed';
