"""Authentication: visitors, API keys, log-in sessions and passwords."""
