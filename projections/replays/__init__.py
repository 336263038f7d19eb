"""Replays rebuild a read model, compare it with the live one and cut over; recounts verify read models."""
