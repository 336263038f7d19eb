"""What runs: the API, the workers, the command, and what they share."""
