"""`tidemark replay`: totals built again from ClickHouse's copy of the log, beside the running ones."""
