-- Everything the sandbox knows, but for the tables of one subject (schema_*.sql). One process opens it, exclusively; a commit is in the write-ahead log before the answer leaves.

-- Objects in order of creation (seq): lists are newest first. `parent` and `ref` are what lists filter by:
--   price: product, lookup key · customer: -, email · subscription: customer, - · subscription_item: subscription, price
CREATE TABLE objects (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    id     TEXT NOT NULL UNIQUE,
    kind   TEXT NOT NULL,
    parent TEXT,
    ref    TEXT,
    body   TEXT NOT NULL
);
CREATE INDEX objects_by_parent ON objects (kind, parent, seq);
CREATE INDEX objects_by_ref ON objects (kind, ref, seq);

-- Usage: one row a cell. Kept by (item, second), so a period's cells are one range.
CREATE TABLE cells (
    item     TEXT NOT NULL,
    second   INTEGER NOT NULL,
    quantity INTEGER NOT NULL,
    PRIMARY KEY (item, second)
) WITHOUT ROWID;

-- First answers under idempotency keys; written in the same transaction as the effect they answer for.
CREATE TABLE answers (
    key         TEXT PRIMARY KEY,
    path        TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    status      INTEGER NOT NULL,
    body        BLOB NOT NULL,
    request_id  TEXT NOT NULL,
    saved_at_s  REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX answers_by_age ON answers (saved_at_s);

-- Clock offset, fault plan, call counters: JSON by name.
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
