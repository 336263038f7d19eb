"""The log in Postgres: append, read, heads, and the schema that keeps it."""
