-- A user who reads the views and nothing else, with limits. Run by `tidemark migrate --analyst NAME`, on servers; each statement may be run again.
-- What is in braces are identifiers of a checked form and the SHA-256 of the password: statements like these take no parameters.

CREATE ROLE IF NOT EXISTS tidemark_analyst;

-- readonly = 2: queries only, though a client may send settings (every driver does), up to these limits. One query: 4 GiB, five minutes, ten million rows
-- of answer; what is larger is an error and not half an answer.
CREATE SETTINGS PROFILE OR REPLACE tidemark_analyst SETTINGS
    readonly = 2 CONST,
    max_memory_usage = 4294967296 MAX 4294967296,
    max_execution_time = 60 MIN 1 MAX 300,
    max_result_rows = 10000000 MIN 1 MAX 10000000,
    result_overflow_mode = 'throw' CONST,
    timeout_overflow_mode = 'throw' CONST,
    max_concurrent_queries_for_user = 8 MIN 1 MAX 8
    TO tidemark_analyst;

-- An hour: a dashboard's refreshes, and half an hour of the machine's time. A runaway script is stopped, the archive worker is not slowed for a day.
CREATE QUOTA OR REPLACE tidemark_analyst KEYED BY user_name
    FOR INTERVAL 1 hour MAX queries = 2000, read_rows = 50000000000, execution_time = 1800
    TO tidemark_analyst;

CREATE USER IF NOT EXISTS {analyst};

ALTER USER {analyst} IDENTIFIED WITH sha256_hash BY '{password_sha256}';

REVOKE ALL ON {database}.* FROM tidemark_analyst;

GRANT tidemark_analyst TO {analyst};
