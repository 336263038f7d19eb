"""Plurals: counts as English writes them, the same on pages, in explanations and in the output of commands."""

from __future__ import annotations


def count_of(number: int, noun: str, plural: str | None = None) -> str:
    """``1 vote``, ``0 votes``, ``6,105 votes``; ``plural`` for a noun that does not just take an s."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
