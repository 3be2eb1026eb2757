"""The ledger: the SQL record of published runs, their later scores, and what people decided.

SQLite in the output folder by default, PostgreSQL by URL. See docs/operations.md.
"""
