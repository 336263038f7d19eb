"""Routes of people: the reviewers of the panel, and the accounts of editors and reviewers."""
