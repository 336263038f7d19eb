"""Replays: a read model rebuilt beside the live one, compared, cut over; and recounts that verify it."""
