"""The log of flips: every change of a verdict, found in the order of the log across shards."""
