"""What was recorded, for people and programs that ask later: SQL over it, and files of Parquet.

The history is the journal: what the engine was given, column by column. This package says which attributes are kept in
it beside those that rules read, and reads it while a service writes. It writes nothing there.
"""
