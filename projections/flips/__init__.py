"""The flip log: every change of a verdict, found in the order of the log across shards."""
