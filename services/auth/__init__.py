"""Who is asking: visitors, API keys, log-in sessions and passwords."""
