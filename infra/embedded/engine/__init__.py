"""ClickHouse's engine (chDB) in one process that alone opens its directory, spoken to over ClickHouse's HTTP protocol on loopback.

So the archive, `tidemark sql` and any ClickHouse client use one code path against the embedded engine and against a server.
Not a production server: no users, no TLS, and a session (temporary tables, SET) lasts for one request.
"""
