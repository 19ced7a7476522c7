-- Base tables. Analysts query the views of 0002; nothing outside of sinks/clickhouse reads a table of this file.
--
-- Rules that hold for all of them:
--  * ReplacingMergeTree, read with FINAL: a record that is written twice (a crash between an insert and its progress row, a doubled
--    record on a topic, a paused worker) is one row. Derived tables by materialised view would not survive the first case.
--  * first_seen_inv counts down with the insert's microsecond, so of two rows of one identity the FIRST one is kept: a replay that
--    decided differently cannot overwrite what was shown before. Where the later record replaces the earlier one by design, the
--    version is the record's own offset instead, and says so.
--  * No sort or partition key holds anything that a configuration can change (law 18): a window's bounds appear only where the window
--    itself is the row's identity.
--  * fsync_*: Kafka is told that a record is archived; after a power cut the row must still be there. One fsync an insert, about one
--    insert a second and table.
--  * log_partition, log_offset: where the record itself lies on its own topic, so that what was inserted without its progress row is
--    found again on assignment (resume.py). The minmax index makes that a look at the last granules.
--  * No TTL: these rows are what proves an invoice, and how long that is needed is for the owner to say. Old months of raw_events go
--    with ALTER TABLE raw_events DROP PARTITION 'YYYYMM'.

-- A pure copy of usage.events, one row a record, whatever is in it (law 19); beside the unchanged bytes what a reader of them would
-- compute: the event's own fields and, with the definitions in force at its offset, the postings it selects.
CREATE TABLE IF NOT EXISTS raw_events
(
    customer        String                          CODEC(ZSTD(1)) COMMENT 'the record''s key, byte for byte; empty where it has none',
    occurred_at     DateTime64(6, 'UTC')            CODEC(Delta(8), ZSTD(1)) COMMENT 'the event''s time, clamped to 1900 … 2299; 1970-01-01 where none can be read',
    kafka_partition UInt32                          CODEC(ZSTD(1)),
    generation      UInt32                          CODEC(ZSTD(1)) COMMENT 'which log this offset belongs to: rises when a recreated topic is adopted',
    kafka_offset    UInt64                          CODEC(Delta(8), ZSTD(1)),
    log_time        DateTime64(3, 'UTC')            CODEC(Delta(8), ZSTD(1)) COMMENT 'LogAppendTime',
    received_at     DateTime64(3, 'UTC')            CODEC(Delta(8), ZSTD(1)) COMMENT 'LogAppendTime of the record''s first arrival, before it was re-routed or replayed',
    key_is_null     Bool                            CODEC(ZSTD(1)),
    -- ZSTD(3): JSON bodies are most of the bytes and are read only for proofs.
    value           String                          CODEC(ZSTD(3)),
    value_is_null   Bool                            CODEC(ZSTD(1)),
    header_names    Array(String)                   CODEC(ZSTD(1)),
    header_values   Array(Nullable(String))         CODEC(ZSTD(1)),
    kind            LowCardinality(String)          COMMENT 'usage, control (type tidemark.…) or unreadable (no CloudEvent)',
    event_id        String                          CODEC(ZSTD(1)),
    source          String                          CODEC(ZSTD(1)),
    type            String                          CODEC(ZSTD(1)),
    meters          Array(LowCardinality(String)),
    quantities      Array(Decimal(38, 12))          CODEC(ZSTD(1)),
    window_starts   Array(DateTime64(0, 'UTC'))     CODEC(ZSTD(1)),
    window_ends     Array(DateTime64(0, 'UTC'))     CODEC(ZSTD(1)),
    first_seen_inv  UInt64 DEFAULT bitNot(toUInt64(toUnixTimestamp64Micro(now64(6)))) CODEC(T64, ZSTD(1)),
    INDEX ix_event_id event_id     TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX ix_offset   kafka_offset TYPE minmax             GRANULARITY 1
)
ENGINE = ReplacingMergeTree(first_seen_inv)
-- By the month of arrival, not of occurred_at: arrival hardly moves within an insert, so no event, however wild its time, opens a
-- hundred partitions at once (error 252), and a coordinate always falls into the same partition.
PARTITION BY toYYYYMM(log_time)
-- The question the table exists for is "which events are behind this customer's window": customer first, then the UTC hour (a pure
-- function of the record, unlike the window), then the coordinate, which is the identity.
ORDER BY (customer, toStartOfHour(occurred_at), kafka_partition, generation, kafka_offset)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Why an event was not counted; one row an event. Without a row an event below the mark was counted.
CREATE TABLE IF NOT EXISTS verdict_log
(
    customer        String                          CODEC(ZSTD(1)) COMMENT 'the record''s key, as in raw_events',
    kafka_partition UInt32                          CODEC(ZSTD(1)),
    generation      UInt32                          CODEC(ZSTD(1)),
    kafka_offset    UInt64                          CODEC(Delta(8), ZSTD(1)),
    verdict         LowCardinality(String),
    reason          LowCardinality(String),
    sentence        String                          CODEC(ZSTD(3)),
    subject         String                          CODEC(ZSTD(1)),
    source          String                          CODEC(ZSTD(1)),
    event_id        String                          CODEC(ZSTD(1)),
    home            Int32                           CODEC(ZSTD(1)) COMMENT 'where a re-routed event went; −1 otherwise',
    log_partition   UInt32                          CODEC(ZSTD(1)),
    log_offset      UInt64                          CODEC(Delta(8), ZSTD(1)),
    first_seen_inv  UInt64 DEFAULT bitNot(toUInt64(toUnixTimestamp64Micro(now64(6)))) CODEC(T64, ZSTD(1)),
    CONSTRAINT known_verdict CHECK verdict IN ('duplicate', 'rejected', 'too_late', 'rerouted'),
    INDEX ix_log log_offset TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(first_seen_inv)
-- The identity is the coordinate; the key stands before it so that a view's filter on one customer reads one granule of this table too.
ORDER BY (customer, kafka_partition, generation, kafka_offset)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- How far every event has its verdict here: the views show nothing at or past it (H34). The greatest offset wins.
CREATE TABLE IF NOT EXISTS mark_log
(
    kafka_partition UInt32,
    generation      UInt32,
    next_offset     UInt64,
    base            UInt64,
    counted         UInt64,
    duplicate       UInt64,
    rejected        UInt64,
    too_late        UInt64,
    rerouted        UInt64,
    control         UInt64,
    skipped         UInt64,
    postings        UInt64
)
ENGINE = ReplacingMergeTree(next_offset)
ORDER BY (kafka_partition, generation)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Every revision of every window (usage.windows). (generation, through_offset) names exactly one total (law 3); both are offsets of a
-- log, so UInt64 (H35).
CREATE TABLE IF NOT EXISTS window_log
(
    customer        String                          CODEC(ZSTD(1)),
    meter           LowCardinality(String),
    window_start    DateTime64(0, 'UTC')            CODEC(Delta(8), ZSTD(1)),
    window_end      DateTime64(0, 'UTC')            CODEC(Delta(8), ZSTD(1)),
    generation      UInt64                          CODEC(ZSTD(1)),
    through_offset  UInt64                          CODEC(Delta(8), ZSTD(1)),
    kafka_partition UInt32                          CODEC(ZSTD(1)),
    -- 64 digits before the point: a sum of the largest events may outgrow an event's own Decimal(38, 12), and ClickHouse cuts silently.
    quantity        Decimal(76, 12)                 CODEC(ZSTD(1)),
    events          UInt64                          CODEC(ZSTD(1)),
    first_offset    UInt64                          CODEC(Delta(8), ZSTD(1)),
    hash            String                          CODEC(ZSTD(1)),
    closed_at       DateTime64(3, 'UTC')            CODEC(Delta(8), ZSTD(1)),
    log_partition   UInt32                          CODEC(ZSTD(1)),
    log_offset      UInt64                          CODEC(Delta(8), ZSTD(1)),
    first_seen_inv  UInt64 DEFAULT bitNot(toUInt64(toUnixTimestamp64Micro(now64(6)))) CODEC(T64, ZSTD(1)),
    INDEX ix_log log_offset TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(first_seen_inv)
ORDER BY (customer, meter, window_start, window_end, generation, through_offset)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Every state of every attempt to deliver a cell, and windows that were parked whole (provider and cell are empty for those).
CREATE TABLE IF NOT EXISTS receipt_log
(
    customer        String                          CODEC(ZSTD(1)),
    meter           LowCardinality(String),
    provider        LowCardinality(String),
    account         LowCardinality(String),
    cell            String                          CODEC(ZSTD(1)) COMMENT 'the cell; for a window that is parked whole its window key',
    kind            LowCardinality(String)          COMMENT 'cell or window',
    revision        UInt64                          CODEC(ZSTD(1)) COMMENT 'the cell''s own counter; for a parked window its through_offset',
    generation      UInt64                          CODEC(ZSTD(1)) COMMENT 'of a parked window; 0 for a cell, whose windows name theirs',
    attempt         UInt32                          CODEC(ZSTD(1)),
    state           LowCardinality(String),
    item            String                          CODEC(ZSTD(1)),
    subscription    String                          CODEC(ZSTD(1)),
    reported_time   DateTime64(0, 'UTC')            CODEC(Delta(8), ZSTD(1)) COMMENT 'the second the provider is told',
    period_start    DateTime64(0, 'UTC')            CODEC(Delta(8), ZSTD(1)),
    period_end      DateTime64(0, 'UTC')            CODEC(Delta(8), ZSTD(1)),
    quantity        Decimal(76, 12)                 CODEC(ZSTD(1)),
    units           String                          CODEC(ZSTD(1)) COMMENT 'what was sent, an integer as text; empty where nothing can be',
    idempotency_key String                          CODEC(ZSTD(1)),
    path            String                          CODEC(ZSTD(1)),
    body            String                          CODEC(ZSTD(3)),
    outcome         LowCardinality(String),
    http_status     UInt16                          CODEC(ZSTD(1)) COMMENT '0 where there was no answer',
    request_id      String                          CODEC(ZSTD(1)),
    reason          LowCardinality(String),
    sentence        String                          CODEC(ZSTD(3)),
    intent_at       DateTime64(3, 'UTC')            CODEC(Delta(8), ZSTD(1)),
    reported_at     DateTime64(3, 'UTC')            CODEC(Delta(8), ZSTD(1)) COMMENT '1970-01-01 where there was no answer yet',
    closed_at       DateTime64(3, 'UTC')            CODEC(Delta(8), ZSTD(1)) COMMENT '1970-01-01 where it was not said',
    window_starts   Array(DateTime64(0, 'UTC'))     CODEC(ZSTD(1)),
    window_ends     Array(DateTime64(0, 'UTC'))     CODEC(ZSTD(1)),
    generations     Array(UInt64)                   CODEC(ZSTD(1)),
    through_offsets Array(UInt64)                   CODEC(ZSTD(1)),
    window_quantities Array(Decimal(76, 12))        CODEC(ZSTD(1)),
    log_partition   UInt32                          CODEC(ZSTD(1)),
    log_offset      UInt64                          CODEC(Delta(8), ZSTD(1)),
    INDEX ix_request request_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX ix_log log_offset TYPE minmax GRANULARITY 1
)
-- The later record of one state of one attempt holds all that the earlier one held and more (its answer, its release): it replaces it.
ENGINE = ReplacingMergeTree(log_offset)
ORDER BY (customer, meter, kind, provider, account, cell, revision, generation, attempt, state)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Rejected and too late events with their exact bytes (usage.rejected).
CREATE TABLE IF NOT EXISTS rejected_log
(
    customer        String                          CODEC(ZSTD(1)) COMMENT 'the record''s key, byte for byte',
    kafka_topic     LowCardinality(String),
    kafka_partition UInt32                          CODEC(ZSTD(1)),
    kafka_offset    UInt64                          CODEC(Delta(8), ZSTD(1)),
    received_at     DateTime64(3, 'UTC')            CODEC(Delta(8), ZSTD(1)),
    reason          LowCardinality(String),
    sentence        String                          CODEC(ZSTD(3)),
    key_is_null     Bool                            CODEC(ZSTD(1)),
    value           String                          CODEC(ZSTD(3)),
    value_is_null   Bool                            CODEC(ZSTD(1)),
    header_names    Array(String)                   CODEC(ZSTD(1)),
    header_values   Array(Nullable(String))         CODEC(ZSTD(1)),
    event_id        String                          CODEC(ZSTD(1)),
    source          String                          CODEC(ZSTD(1)),
    type            String                          CODEC(ZSTD(1)),
    subject         String                          CODEC(ZSTD(1)),
    rejected_at     DateTime64(3, 'UTC')            CODEC(Delta(8), ZSTD(1)),
    log_partition   UInt32                          CODEC(ZSTD(1)),
    log_offset      UInt64                          CODEC(Delta(8), ZSTD(1)),
    first_seen_inv  UInt64 DEFAULT bitNot(toUInt64(toUnixTimestamp64Micro(now64(6)))) CODEC(T64, ZSTD(1)),
    INDEX ix_log log_offset TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(first_seen_inv)
-- The record does not carry its log's generation; with the instant it was received at, a coordinate is unique across recreated logs.
ORDER BY (kafka_topic, kafka_partition, kafka_offset, received_at)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- What was put in force, as the meter published it (usage.definitions); body is the record itself, from which the archive rebuilds the
-- definitions of a partition on assignment.
CREATE TABLE IF NOT EXISTS definition_log
(
    kind            LowCardinality(String)          COMMENT 'meter, timing, binding or release',
    id              String                          COMMENT 'the meter''s slug, the customer of a binding or the target of a release',
    meter           String,
    valid_from      DateTime64(0, 'UTC')            COMMENT '1900-01-01 means: from the beginning',
    control_offset  UInt64                          COMMENT 'offset on usage.events of the control record that brought it',
    body            String                          CODEC(ZSTD(3)),
    log_partition   UInt32,
    log_offset      UInt64,
    INDEX ix_log log_offset TYPE minmax GRANULARITY 1
)
-- A version may be said again under a newer digest: the later record of the same version replaces the earlier.
ENGINE = ReplacingMergeTree(log_offset)
ORDER BY (log_partition, kind, id, meter, valid_from, control_offset)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Up to where each partition of each topic is archived without a hole: written after the rows it speaks of, so it never promises more
-- than is here. Offsets have holes (markers, aborted records), so it cannot be computed from the rows alone.
CREATE TABLE IF NOT EXISTS progress
(
    topic           LowCardinality(String),
    kafka_partition UInt32,
    generation      UInt32                          COMMENT 'of usage.events; 0 for the topics that are ours',
    next_offset     UInt64
)
ENGINE = ReplacingMergeTree(next_offset)
ORDER BY (topic, kafka_partition, generation)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
