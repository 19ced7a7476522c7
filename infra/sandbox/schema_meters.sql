-- What customers used, by meter events; one row an event, in the order in which the events were received (seq).
--   pending: answered 200, not judged yet · counted · refused: judged and found wrong, with its code · canceled: by an adjustment
-- `second` is the event's own time, `value` a whole number of 10^-12 units as text (it can pass 64 bits), `request` the caller's
-- Idempotency-Key. `received_s`, `due_s`, `judged_s`, `cancel_due_s` are instants of the sandbox's clock.
CREATE TABLE IF NOT EXISTS meter_events (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    identifier   TEXT NOT NULL,
    event_name   TEXT NOT NULL,
    request      TEXT NOT NULL,
    payload      TEXT NOT NULL,
    second       INTEGER NOT NULL,
    received_s   REAL NOT NULL,
    due_s        REAL NOT NULL,
    state        TEXT NOT NULL DEFAULT 'pending',
    meter        TEXT,
    customer     TEXT,
    value        TEXT,
    code         TEXT,
    message      TEXT,
    judged_s     REAL,
    cancel_due_s REAL,
    reported     INTEGER NOT NULL DEFAULT 0
);
-- A customer's usage of a period is one range.
CREATE INDEX IF NOT EXISTS meter_events_by_use ON meter_events (meter, customer, second) WHERE state = 'counted';
CREATE INDEX IF NOT EXISTS meter_events_by_identifier ON meter_events (identifier, seq);
-- What is still to be done is read in order of receipt, over an index of just these rows: a year of counted events is never walked.
CREATE INDEX IF NOT EXISTS meter_events_unjudged ON meter_events (seq) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS meter_events_to_cancel ON meter_events (cancel_due_s) WHERE cancel_due_s IS NOT NULL AND state = 'counted';
CREATE INDEX IF NOT EXISTS meter_events_unreported ON meter_events (seq) WHERE state = 'refused' AND reported = 0;
