-- What time does to subscriptions, invoices and test clocks: one row for each object to which something happens later, with the instant of
-- the next thing. `clock` is the test clock whose time counts, '' the sandbox's own. An advancing test clock has a row of its own ('' and
-- the instant at which it may go on). Among what is due at one instant the lower `rank` comes first, then the older row.
CREATE TABLE IF NOT EXISTS due (
    id    TEXT PRIMARY KEY,
    clock TEXT NOT NULL,
    at_s  REAL NOT NULL,
    rank  INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS due_in_order ON due (clock, at_s, rank);

-- Usage records that came in a period's first minutes for the period before, whose invoice was final already: billed in the period that
-- begins at `into_s`, and not in the one that ends there.
CREATE TABLE IF NOT EXISTS carried (
    item     TEXT NOT NULL,
    into_s   INTEGER NOT NULL,
    quantity INTEGER NOT NULL,
    PRIMARY KEY (item, into_s)
) WITHOUT ROWID;
