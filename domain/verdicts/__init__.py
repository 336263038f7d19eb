"""Verdicts as pure functions of takes, ballots and rulebook, and what is derived from them."""
