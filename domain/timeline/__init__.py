"""The verdict of one tool along the log: where it flips, and where it would have flipped under another rulebook."""
