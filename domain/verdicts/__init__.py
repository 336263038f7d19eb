"""Verdicts as pure functions of takes, ballots and rulebook; comparisons, rankings and proofs."""
