"""Votes in bulk: decompressed, decoded line by line, and appended in large batches."""
