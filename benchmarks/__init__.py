"""Ours against the machine's limits, in one run; rates mean little alone, ratios carry over."""
