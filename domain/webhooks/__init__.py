"""Webhooks: messages, signatures, retries and allowed endpoints."""
