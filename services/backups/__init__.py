"""Backups: the durable tables of one moment in a file, and restoring them into an empty or an older database."""
