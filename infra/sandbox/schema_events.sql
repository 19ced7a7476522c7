-- Events in the order in which they happened (seq): whole bodies, thin ones with the data that only a fetch shows. A snapshot event has
-- its object in the account's version in `body`, and in `shapes` the same object by every further version that somebody wanted at the time.
-- `about` is the object that it is about, `kept_s` when the sandbox's clock first saw it: its 30 days are counted from there, because
-- `created` may be the instant of a test clock, years away.
CREATE TABLE IF NOT EXISTS happened (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    id     TEXT NOT NULL UNIQUE,
    type   TEXT NOT NULL,
    thin   INTEGER NOT NULL,
    about  TEXT,
    body   TEXT NOT NULL,
    shapes TEXT NOT NULL DEFAULT '{}',
    kept_s REAL
);
CREATE INDEX IF NOT EXISTS happened_by_type ON happened (type, seq);
CREATE INDEX IF NOT EXISTS happened_unseen ON happened (seq) WHERE kept_s IS NULL;
CREATE INDEX IF NOT EXISTS happened_by_age ON happened (kept_s) WHERE kept_s IS NOT NULL;
-- What is sent where: one row for each event and endpoint, and a second one for a copy that a knob asks for.
--   pending: to be posted at due_s of the sandbox's clock · delivered: answered 2xx · failed: all attempts spent, or the endpoint is gone
CREATE TABLE IF NOT EXISTS deliveries (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    event    TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    due_s    REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    state    TEXT NOT NULL DEFAULT 'pending',
    answer   TEXT
);
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (due_s) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS deliveries_by_event ON deliveries (event);
