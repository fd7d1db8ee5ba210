"""Alerts, their history and the outbox in a database: SQLite by default, PostgreSQL by URL."""
