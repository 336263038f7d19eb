"""Sealed history: ranges of the log as Parquet files that never change, each with a manifest that describes its content."""
