"""Trials: a rulebook is tried over the whole log, in Postgres or in sealed segments."""
