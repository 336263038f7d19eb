"""Webhooks: messages, signatures, retries, and which endpoints are allowed."""
