"""Alert state, history and the outbox in a database: SQLite, or PostgreSQL that several processes share.

Nothing here is waited for on the way from a span to its notification: what happens is written behind, in order, in
groups of one transaction each. While the database is down, writes wait in memory, and the state is degraded and says
so.
"""
