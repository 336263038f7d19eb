"""Ballots and bookmarks: one person's standing choice for one tool."""
