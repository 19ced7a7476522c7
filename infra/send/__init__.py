"""`tidemark send`: usage from files. Reading a line is pure (lines, events, access_log, csv_rows); `publish` talks to Kafka."""
