"""What every route shares: requests, authentication, limits, problems, conditional answers, consistency."""
