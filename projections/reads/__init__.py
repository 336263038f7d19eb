"""Reads across read models: as of a past position, the difference of two, and the inputs of a verdict."""
