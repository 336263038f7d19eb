"""Shared by all routes: requests, authentication, limits, problems, conditional answers, consistency."""
