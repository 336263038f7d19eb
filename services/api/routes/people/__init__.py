"""Routes of people: the reviewers of the panel, and the log-ins and sessions of editors and reviewers."""
