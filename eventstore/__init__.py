"""The log in Postgres: appends, reads, heads and migrations."""
