"""Ballots and bookmarks: one person's current choice for one tool. Limits of vote ids and voters."""
