"""What editors and reviewers decide: tools, takes, reviewers, and which rulebook is in force."""
