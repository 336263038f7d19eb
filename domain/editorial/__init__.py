"""Decisions of editors and reviewers: tools, takes, reviewers, and the rulebook in force."""
