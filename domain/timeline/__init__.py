"""One tool's verdict along the log: where it changes, and where it would have under another rulebook."""
