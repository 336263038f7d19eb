"""Imports: read a file or pipe of votes in chunks and append them to the log."""
