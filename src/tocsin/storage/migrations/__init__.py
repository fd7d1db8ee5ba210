"""Revisions of the tables, oldest first; `tocsin.storage.schema` brings a database to the newest."""
