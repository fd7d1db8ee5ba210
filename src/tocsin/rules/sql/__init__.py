"""SQL as alert rules: a query over recorded metrics, compiled to an expression that is evaluated as data arrives.

The contract is that of Arthur's alert rules, described in docs/sql.md. Nothing here runs SQL: a query either becomes
windows of bounded size with the meaning that it has in SQL, or is refused with the place and the reason.
"""
