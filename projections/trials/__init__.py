"""Trials: a rulebook tried on the whole log, from Postgres or from sealed segments."""
