"""Webhooks: who is told of flips, what is to be sent to them, and the sending."""
