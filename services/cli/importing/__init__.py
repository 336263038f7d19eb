"""Imports: a file or pipe of votes, read in pieces and appended with progress."""
